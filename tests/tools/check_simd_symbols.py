#!/usr/bin/env python3
"""Object files of one instruction set define nothing that the linker could mix with another's: every
global symbol lies in namespace gentrain::simd::ISA, and none is weak (an inline function of a shared
header would be: the linker keeps one copy of those, perhaps the one that this processor cannot run).

usage: check_simd_symbols.py ISA OBJECT...     prints one line per violation; exit code 1 if any
"""

import subprocess
import sys


def violations(isa, text):
    """Of the output of nm: lines `ADDRESS TYPE NAME`, and `FILE:` before those of a file."""
    file = ""
    for line in text.splitlines():
        words = line.split(maxsplit=2)
        if len(words) == 1 and line.endswith(":"):
            file = line[:-1].rpartition("/")[2]
        if len(words) != 3 or words[2].startswith("DW.ref."):  # a pointer of the exception tables
            continue
        kind, name = words[1:]
        if kind in "WVu":
            yield f"{file}: {name} is weak: it comes from an inline function of a shared header"
        elif kind.isupper() and f"gentrain::simd::{isa}::" not in name:
            yield f"{file}: {name} lies outside gentrain::simd::{isa}"


def main():
    isa, objects = sys.argv[1], sys.argv[2:]
    text = subprocess.run(["nm", "--demangle", "--defined-only", *objects], capture_output=True,
                          text=True, check=True).stdout
    if len(objects) == 1:
        text = f"\n{objects[0]}:\n{text}"
    problems = list(violations(isa, text))
    symbols = sum(f"gentrain::simd::{isa}::" in line for line in text.splitlines())
    print("\n".join(problems) if problems else f"{isa}: {symbols} symbols, all in their namespace")
    return 1 if problems or symbols == 0 else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Compiles every file of a build folder's compile_commands.json with clang 14, syntax only.

usage: clang_syntax.py BUILD_FOLDER     shows the errors; exit code 1 if there are any
"""

import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

GCC_ONLY = {"-fopenmp"}  # clang has no omp.h of its own; nothing here depends on it


def clang_command(entry):
    words = shlex.split(entry["command"])
    compiler = next(i for i, word in enumerate(words) if word.endswith(("g++", "c++", "clang++")))
    keep = []
    skip = False
    for word in words[compiler + 1:]:
        if skip or word in GCC_ONLY or word.startswith(("-W", "-M")) or word == "-c":
            skip = False
            continue
        if word == "-o":
            skip = True
            continue
        keep.append(word)
    return ["clang++-14", "-fsyntax-only", "-w", *keep]


def compile_one(entry):
    done = subprocess.run(clang_command(entry), cwd=entry["directory"], capture_output=True, text=True,
                          check=False)
    return entry["file"], done.returncode, done.stderr


def main():
    entries = json.loads((Path(sys.argv[1]) / "compile_commands.json").read_text(encoding="utf-8"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(compile_one, entries))
    failed = [(file, text) for file, code, text in results if code != 0]
    for file, text in failed:
        print(f"{file}:\n{text}")
    print(f"clang 14: {len(results) - len(failed)} of {len(results)} files compile")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())

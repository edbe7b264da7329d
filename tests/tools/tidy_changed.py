#!/usr/bin/env python3
"""clang-tidy on what changed since the branch left the main line (on the main line: in the last commit):
the changed source files, and for each changed header one source file that includes it. With more files
than the limit the largest changes are taken, and the others are named.

usage: tidy_changed.py BUILD_FOLDER MAX_FILES     shows the findings; exit code 1 if there are any
"""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
OPTIONS = ["--quiet", "--extra-arg=-Wno-unknown-warning-option",
           "--extra-arg=-Wno-unused-command-line-argument"]


def reached(root, source):
    """A source file and all files of the tree that it includes, directly or not."""
    found = set()
    waiting = [source]
    while waiting:
        path = waiting.pop()
        if path not in found and (root / path).is_file():
            found.add(path)
            waiting += INCLUDE.findall((root / path).read_text(encoding="utf-8"))
    return found


def choose(root, changed, sources):
    """(files to look at, headers that no source file includes), the largest changes first.

    changed: {path: lines}; sources: the files that the build compiles.
    """
    lines = {path: count for path, count in changed.items() if path in sources}
    headers = {path: count for path, count in changed.items() if path.endswith(".h")}
    closures = {source: reached(root, source) for source in sources} if headers else {}
    orphans = []
    for header, count in headers.items():
        includers = [source for source in sources if header in closures[source]]
        if not includers:
            orphans.append(header)
        elif not any(source in lines for source in includers):
            own = str(Path(header).with_suffix(".cpp"))
            nearest = min(includers, key=lambda s: (s != own, len(closures[s]), s))
            lines[nearest] = count
    return sorted(lines, key=lambda path: (-lines[path], path)), orphans


def git(*arguments):
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def changed_since(base):
    """{path: lines added}"""
    rows = git("diff", "--numstat", "--diff-filter=d", base, "--", "*.cpp", "*.h").splitlines()
    return {path: int(added) for added, _, path in (row.split("\t") for row in rows)}


def tidy(build, path):
    done = subprocess.run(["clang-tidy-14", "-p", build, *OPTIONS, path], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if not re.search(r"warnings? generated", line)]
    return done.returncode, done.stdout + "".join(line + "\n" for line in errors)


def main():
    build, limit = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    base = git("merge-base", "HEAD", "origin/main") or git("merge-base", "HEAD", "main")
    if base in ("", git("rev-parse", "HEAD")):
        base = git("rev-parse", "--quiet", "--verify", "HEAD~1")
    if not base:
        print("no earlier commit to compare with")
        return 0
    entries = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    files = [Path(entry["directory"], entry["file"]).resolve() for entry in entries]
    sources = {str(file.relative_to(ROOT)) for file in files if file.is_relative_to(ROOT)}
    if any(file.name.startswith("unity_") for file in files):
        print(f"clang-tidy: {build} compiles several files as one; the debug preset does not")
        return 1
    chosen, orphans = choose(ROOT, changed_since(base), sources)
    taken, left_out = chosen[:limit], chosen[limit:]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda path: tidy(str(build), path), taken))
    for _, text in results:
        print(text, end="")
    failed = sum(code != 0 for code, _ in results)
    print(f"clang-tidy: {len(taken)} files checked for what changed since {base[:10]}, "
          f"{failed or 'none'} with findings")
    if orphans:
        print(f"clang-tidy: NOT CHECKED, included by no source file: {' '.join(orphans)}")
    if left_out:
        print(f"clang-tidy: NOT CHECKED, {len(left_out)} files beyond {limit}: {' '.join(left_out)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

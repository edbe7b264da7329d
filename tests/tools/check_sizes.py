#!/usr/bin/env python3
"""No header beyond 250 lines, no other source or script beyond 500, and each opens with a comment.

usage: check_sizes.py [ROOT]     prints one line per violation; exit code 1 if there are any
"""

import sys
from pathlib import Path

LIMITS = {".h": 250, ".cuh": 250, ".cpp": 500, ".cu": 500, ".py": 500, ".sh": 500}
OPENINGS = {".py": ("#!", '"""'), ".sh": ("#!",)}  # others: "//"
FOLDERS = ["kernels", "core", "comm", "trainers", "jobs", "tests", "deploy"]


def check_file(root, path):
    lines = (root / path).read_text(encoding="utf-8").splitlines()
    limit = LIMITS[path.suffix]
    if len(lines) > limit:
        yield f"{path}: {len(lines)} lines, at most {limit}: look for a seam"
    if not lines or not lines[0].startswith(OPENINGS.get(path.suffix, ("//",))):
        yield f"{path}:1: opens without saying what the file is"


def check(root):
    """(number of files, violations) of a tree."""
    files = [file.relative_to(root) for folder in FOLDERS
             for file in sorted((root / folder).rglob("*")) if file.suffix in LIMITS]
    return len(files), [problem for path in files for problem in check_file(root, path)]


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2])
    files, problems = check(root.resolve())
    print("\n".join(problems) if problems else f"{files} files have a good size")
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())

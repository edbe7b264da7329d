#!/usr/bin/env python3
"""Documents name only what exists: relative links of every *.md, and `folder/file.ext` in back ticks
where folder is one of the project's. Names with a word in capitals (`core/ops/NAME.cpp`) stand for any.

usage: check_docs.py [ROOT]     prints one line per violation; exit code 1 if there are any
"""

import re
import sys
from pathlib import Path

FOLDERS = ("kernels", "core", "comm", "trainers", "jobs", "tests", "deploy", "docs", ".ci")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\s]+)`")
PLACEHOLDER = re.compile(r"(^|[/._])[A-Z]{2,}")


def missing(root, document, text):
    """(what, place it was looked for) for each name in a line that nothing bears."""
    for link in LINK.findall(text):
        target = link.partition("#")[0]
        if target and "://" not in link and not link.startswith("mailto:"):
            if not (document.parent / target).exists():
                yield link
    for code in CODE.findall(text):
        name = code.rstrip(":,.;")
        if not name.startswith(tuple(folder + "/" for folder in FOLDERS)):
            continue
        if PLACEHOLDER.search(name) and not name.endswith(".md"):
            continue
        if any(sign in name for sign in "*?[") and any(root.glob(name)):
            continue
        if not (root / name).exists():
            yield code


def check_document(root, document):
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        for name in missing(root, document, line):
            yield f"{document.relative_to(root)}:{number}: '{name}' does not exist"


def check(root):
    """(number of documents, violations) of a tree."""
    documents = sorted(root.glob("*.md")) + sorted((root / "docs").rglob("*.md"))
    problems = [problem for document in documents for problem in check_document(root, document)]
    return len(documents), problems


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2])
    documents, problems = check(root.resolve())
    print("\n".join(problems) if problems else f"{documents} documents name only what exists")
    return 1 if problems or not documents else 0


if __name__ == "__main__":
    sys.exit(main())

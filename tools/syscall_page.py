#!/usr/bin/env python3
"""Writes docs/reference/syscalls.md from the kernel's one table; with --check compares instead."""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "src/enclave/syscalls/table.inc"
PAGE = ROOT / "docs/reference/syscalls.md"
ROW = re.compile(r'^SYSCALL\((\w+),\s*(\w+),\s*(\w+),\s*"((?:[^"\\]|\\.)*)"\)')


def page():
    rows = [match.groups() for match in map(ROW.match, TABLE.read_text().splitlines()) if match]
    rows = [(int(number, 0), name, level, note) for number, name, level, note in rows]
    rows = sorted(row for row in rows if row[0] < 0x10000)
    counts = {}
    for _, _, level, _ in rows:
        counts[level] = counts.get(level, 0) + 1
    lines = ["# System calls", "",
             "Generated from `src/enclave/syscalls/table.inc` by `tools/syscall_page.py`; `./dev test` compares.", "",
             ", ".join(f"{level.lower()}: {count}" for level, count in sorted(counts.items())) + ". "
             "Any other call returns ENOSYS and is logged once by name.", "",
             "| number | call | support | note |", "|---|---|---|---|"]
    lines += [f"| {number} | `{name}` | {level.lower()} | {note} |" for number, name, level, note in rows]
    return "\n".join(lines) + "\n"


def main():
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text() != page():
            print(f"{PAGE.relative_to(ROOT)} is stale: run tools/syscall_page.py")
            return 1
        return 0
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())

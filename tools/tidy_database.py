#!/usr/bin/env python3
"""Makes a compilation database that clang-tidy 14 understands out of one that was made for GCC 12.

Usage: tidy_database.py FROM TO. It knows C++23 by an older name, not all of GCC's warnings, and cannot read the kernel's
objects, which have no vector registers: their sources are looked at as the host library compiles them.
"""
import json
import re
import sys

entries = []
for entry in json.load(open(sys.argv[1])):
    if "-mgeneral-regs-only" in entry["command"]:
        continue
    command = entry["command"].replace("-std=gnu++23", "-std=gnu++2b")
    entry["command"] = re.sub(r" -Wno-(restrict|maybe-uninitialized)\b", "", command)
    entries.append(entry)
json.dump(entries, open(sys.argv[2], "w"))

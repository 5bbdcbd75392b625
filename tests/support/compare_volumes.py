#!/usr/bin/env python3
"""Compares what the second reader reads of volumes with what the library read (src/volume/second_reader.h).

Usage: compare_volumes.py TOOLS FOLDER. TOOLS holds volume_reader.py. Each folder in FOLDER holds a `volume`, its `name`
("key tag" or "root", in hexadecimal digits), a `label` for messages and what is `expected`. Exit code 1: they differ;
77: python3-cryptography is missing.
"""
import collections
import hashlib
import os
import struct
import sys

MOST_DIGESTED = 64 << 20  # bytes of one file, as in second_reader.cpp


def digest(pieces):
    out, left = hashlib.sha256(), MOST_DIGESTED
    for piece in pieces:
        out.update(piece[:left])
        left -= len(piece)
        if left <= 0:
            break
    return out.hexdigest()


def describe(volume, path, number, inode):
    """One line for a file, one for each of its attributes."""
    kind, size = " fdl"[inode["type"]], inode["size"]
    allocated = size if inode["flags"] & 1 else inode["chunks"] * 4096
    content = digest(volume.content(number)) if kind != "d" else inode["parent"]
    yield (f"{path.hex()} {kind} {number} {inode['permissions']:o} {inode['uid']} {inode['gid']} {inode['links']} {size} "
           f"{allocated} {inode['mtime']}.{inode['mtime_ns']} {inode['ctime']}.{inode['ctime_ns']} {content}")
    for name, value in volume.attributes(number):
        yield f"{path.hex()} x {name.hex()} {hashlib.sha256(value).hexdigest()}"


def read(volume_reader, folder, name):
    if len(name) == 2:
        volume = volume_reader.Volume(folder, key=bytes.fromhex(name[0]), tag=bytes.fromhex(name[1]))
    else:
        volume = volume_reader.Volume(folder, root=bytes.fromhex(name[0]))
    inodes = [volume.inode(number) for number, kind in volume.records if kind == 1]
    data_size = sum(inode["size"] for inode in inodes if inode["type"] == 1)
    lines = [f"usage {len(inodes)} {data_size}", *describe(volume, b"", 1, volume.inode(1))]
    for path, number, inode in volume.walk():
        lines.extend(describe(volume, path, number, inode))
    for fd in (volume.main, *volume.objects.values()):
        os.close(fd)
    return lines


def shown(line):
    path, _, rest = line.partition(" ")
    return f"{path if path == 'usage' else bytes.fromhex(path)!r} {rest}"


def compare(volume_reader, folder):
    """What differs, at most a few lines."""
    text = {}
    for name in ("name", "label", "expected"):
        with open(os.path.join(folder, name), encoding="ascii") as file:
            text[name] = file.read()
    expected = collections.Counter(text["expected"].splitlines())
    try:
        got = collections.Counter(read(volume_reader, os.path.join(folder, "volume"), text["name"].split()))
    except (volume_reader.Damaged, IndexError, ValueError, struct.error) as error:
        return [f"{text['label']}: the second reader refuses it: {error}"]
    out = []
    for who, more in (("the library", expected - got), ("the second reader", got - expected)):
        out += [f"{text['label']}: only {who}: {shown(line)}" for line in sorted(more.elements())[:5]]
    return out


def main():
    tools, folder = sys.argv[1:]
    sys.path.insert(0, tools)
    sys.dont_write_bytecode = True
    try:
        import cryptography  # noqa: F401
    except ImportError:
        return 77
    import volume_reader
    faults = []
    for entry in sorted(os.listdir(folder)):
        faults += compare(volume_reader, os.path.join(folder, entry))
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

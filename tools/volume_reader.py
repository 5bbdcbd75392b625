#!/usr/bin/env python3
"""Reads a Cloister volume: an independent implementation of docs/formats/volume.md, for tests and for the careful.

  volume_reader.py FOLDER --key-file FILE --tag HEX [ls|cat PATH|digest]
  volume_reader.py FOLDER --root HEX [ls|cat PATH|digest]

`digest` prints one line per file: type, permissions, size, SHA-256 of content or target, path; and per extended
attribute: `x`, name in hex, size, SHA-256, path. Any verification failure ends with exit code 3 and nothing of the
failed block printed.
"""
import argparse
import hashlib
import hmac
import os
import stat
import struct
import sys

BLOCK, SLOTS, MAIN_CHUNKS = 4096, 8, 16


class Damaged(Exception):
    pass


def need(condition, message):
    if not condition:
        raise Damaged(message)


def hkdf(key, salt, info):
    prk = hmac.new(salt, key, hashlib.sha256).digest()
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


def open_gcm(key, nonce, cipher, mac, aad, message):
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    try:
        return AESGCM(key).decrypt(nonce, cipher + mac, aad)
    except InvalidTag:
        raise Damaged(message) from None


class Reference:
    def __init__(self, raw, encrypted):
        if encrypted:
            self.digest, self.epoch = raw[:16], struct.unpack_from("<I", raw, 16)[0]
            self.counter, place = int.from_bytes(raw[20:26], "little"), int.from_bytes(raw[26:32], "little")
        else:
            self.digest, self.epoch, self.counter = raw[:32], 0, 0
            place = int.from_bytes(raw[32:38], "little")
        self.in_main, place = bool(place >> 47), place & (1 << 47) - 1
        self.present, self.place = place != 0, place - 1


class Volume:
    def __init__(self, folder, key=None, tag=None, root=None):
        self.folder, self.key, self.encrypted = folder, key, key is not None
        self.main = self.open_file("volume.fspf")
        self.epochs, self.objects, self.records = {}, {}, {}
        self.find_superblock(tag, root)
        self.reference_size, self.group = (32, 60) if self.encrypted else (40, 48)
        if self.encrypted:
            self.read_epochs()
        self.read_tree(self.root, self.height - 1, (0, 0, 0), (1 << 64, 0, 0))

    def open_file(self, name):
        path = os.path.join(self.folder, name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise Damaged(f"cannot open {name}: {error.strerror}") from None
        need(stat.S_ISREG(os.fstat(fd).st_mode), f"{name} is not a regular file")
        return fd

    @staticmethod
    def read_block(fd, number):
        block = os.pread(fd, BLOCK, number * BLOCK)
        need(len(block) == BLOCK, "a file is too short")
        return block

    def find_superblock(self, tag, root):
        valid = wrong_key = False
        for slot in range(SLOTS):
            block = os.pread(self.main, BLOCK, slot * BLOCK)
            if len(block) < 368 or block[:8] != b"CLSTFSPF":
                continue
            version, suite, mode, size = struct.unpack_from("<IBBH", block, 8)
            need((version, size) == (1, 256) and (suite, mode) in ((1, 1), (0, 2)), "unknown version or suite")
            if (mode == 1) != self.encrypted:
                continue
            head, body, volume_id = block[:64], block[112:368], block[16:32]
            if self.encrypted:
                derive = lambda label: hkdf(self.key, volume_id, b"cloister volume " + label)  # noqa: E731
                if not hmac.compare_digest(derive(b"commitment"), block[32:64]):
                    wrong_key = True
                    continue
                metadata = derive(b"metadata")
                try:
                    body = open_gcm(hkdf(metadata, block[64:96], b"cloister volume superblock"), bytes(12), body,
                                    block[96:112], head, "superblock")
                except Damaged:
                    continue
                name = hmac.new(derive(b"tag"), head + body, hashlib.sha256).digest()[:16]
            else:
                metadata, name = None, hashlib.sha256(head + body).digest()
            valid = True
            if hmac.compare_digest(name, tag if self.encrypted else root):
                return self.take_superblock(volume_id, metadata, body)
        need(not valid, "The FSPF tag is not fresh - suspected replay attack")
        need(not wrong_key, "wrong volume key")
        raise Damaged("volume.fspf holds no state of a volume")

    def take_superblock(self, volume_id, metadata, body):
        self.id, self.metadata_key = volume_id, metadata
        root = Reference(bytes(40), True)
        root.digest = body[24:56] if metadata is None else body[24:40]
        root.epoch, self.height, root.counter, root.place = struct.unpack_from("<IIQQ", body, 56)
        root.present, self.root = True, root
        self.inodes, self.data_size, self.blocks = struct.unpack_from("<QQQ", body, 88)
        self.epoch_page, self.epoch_digest = struct.unpack_from("<Q", body, 128)[0], body[136:168]
        need(1 <= self.height <= 16, "bad height")
        need(body[168] <= 1 and body[169:172] == bytes(3) and body[184:] == bytes(72), "unknown feature")

    def read_epochs(self):
        page, digest, below = self.epoch_page, self.epoch_digest, 1 << 32
        while page:
            block = self.read_block(self.main, page)
            need(hashlib.sha256(block).digest() == digest, "Verification of an epoch page failed")
            need(block[:8] == b"CLSTEPOC", "not an epoch page")
            page, digest = struct.unpack_from("<Q", block, 8)[0], block[16:48]
            first, count = struct.unpack_from("<II", block, 48)
            need(first < below and 1 <= count <= 100, "bad epoch page")
            below = first
            for i, at in enumerate(range(56, 56 + 40 * count, 40)):
                self.epochs[first + i] = (block[at:at + 8], block[at + 8:at + 40])

    def open_block(self, fd, ref, secret, label, kind, inode, index, message):
        block = self.read_block(fd, ref.place)
        aad = self.id + struct.pack("<QQII8x", inode, index, BLOCK, kind)
        if not self.encrypted:
            need(hashlib.sha256(aad + block).digest() == ref.digest, message)
            return block
        need(ref.epoch in self.epochs, "an epoch is missing")
        epoch_id, salt = self.epochs[ref.epoch]
        key = hkdf(secret, salt, b"cloister volume " + label + epoch_id)
        return open_gcm(key, struct.pack("<IQ", kind, ref.counter), block, ref.digest, aad, message)

    def read_tree(self, ref, level, low, high):
        need(ref.present and not ref.in_main and SLOTS <= ref.place < self.blocks, "bad reference to a node")
        node = self.open_block(self.main, ref, self.metadata_key, b"node", 1, 0, level,
                               "Verification of the volume's metadata failed")
        count = struct.unpack_from("<H", node, 2)[0]
        width = 17 + self.reference_size if level else 2
        need(node[0] == level and 8 + count * width <= BLOCK and (count or not level), "bad node")
        offsets = range(8, 8 + count * width, width) if level else struct.unpack_from(f"<{count}H", node, 8)
        need(all(offset + 19 <= BLOCK for offset in offsets), "bad record")
        keys = [(inode, kind, sub) for inode, sub, kind in (struct.unpack_from("<QQB", node, at) for at in offsets)]
        ends = [low] + keys[1:] + [high] if level else keys
        found = level or not keys or low <= keys[0] and keys[-1] < high
        rising = all(a < b for row in (keys, ends) for a, b in zip(row, row[1:]))
        need(found and rising, "keys are not in order")
        for i, at in enumerate(offsets):
            if level:
                self.read_tree(Reference(node[at + 17:at + width], self.encrypted), level - 1, ends[i], ends[i + 1])
                continue
            end = at + 19 + struct.unpack_from("<H", node, at + 17)[0]
            need(end <= BLOCK, "bad record")
            self.records.setdefault(keys[i][:2], {})[keys[i][2]] = node[at + 19:end]

    def record(self, inode, kind, sub):
        return self.records.get((inode, kind), {}).get(sub, b"")

    def inode(self, number):
        raw = self.record(number, 1, 0)
        need(raw, f"inode {number} is missing")
        fields = struct.unpack_from("<BBHIIIQQqIqIQQ", raw)
        out = dict(zip(("type", "flags", "permissions", "uid", "gid", "links", "size", "chunks", "mtime", "mtime_ns",
                        "ctime", "ctime_ns", "parent", "number"), fields))
        need(out["flags"] & 1 or out["type"] != 3, "a link that is not inline")
        need(not out["flags"] & 1 or out["size"] <= (2048, 4095)[out["type"] == 3], "too large to be inline")
        if out["type"] == 1 and self.encrypted:
            out["key"] = raw[72:104]
        if out["flags"] & 2:
            out["object"] = raw[-16:].hex()
        return out

    def entries(self, directory):
        for raw in self.records.get((directory, 3), {}).values():
            at = 0
            while at < len(raw):
                child, _, size = struct.unpack_from("<QBB", raw, at)
                name = raw[at + 10:at + 10 + size]
                need(len(name) == size and name not in (b"", b".", b"..") and not {*name} & {*b"/\0"}, "bad name")
                yield name, child
                at += 10 + size

    def parts(self, inode, kind, first, size, each):
        """Yields what lies in several records, all full but the last."""
        for at in range(0, size, each):
            raw = self.record(inode, kind, first + at // each)
            need(len(raw) == min(each, size - at), f"bad part of inode {inode}")
            yield raw

    def attributes(self, number):
        for raw in self.records.get((number, 4), {}).values():
            at = 0
            while at < len(raw):
                end = at + 1 + raw[at]
                name, size = raw[at + 1:end], struct.unpack_from("<H", raw, end)[0]
                value, at = raw[end + 2:end + 2 + size], end + 2 + size
                if size == 0xFFFF:
                    (size, parts), at = struct.unpack_from("<IQ", value), end + 14
                    need(2048 < size <= 65536 and 0 < parts < 1 << 58, "bad extended attribute")
                    value = b"".join(self.parts(number, 7, parts << 6, size, 2016))
                need(len(value) == size, "bad extended attribute")
                yield name, value

    def content(self, number):
        """Yields the content of a regular file or the target of a link, holes as zeros."""
        inode = self.inode(number)
        if inode["flags"] & 1:
            yield from self.parts(number, 2, 0, inode["size"], 2048)
            return
        for index in range((inode["size"] + BLOCK - 1) // BLOCK):
            raw = self.record(number, 5, index // self.group)
            at = index % self.group * self.reference_size
            ref = Reference(raw[at:at + self.reference_size].ljust(40, b"\0"), self.encrypted)
            block = self.read_chunk(number, inode, index, ref) if ref.present else bytes(BLOCK)
            yield block[:min(BLOCK, inode["size"] - index * BLOCK)]

    def read_chunk(self, number, inode, index, ref):
        fd = self.main
        if index >= MAIN_CHUNKS and not ref.in_main:
            need("object" in inode, "an object is missing")
            name = "objects/" + inode["object"][:2] + "/" + inode["object"][2:]
            fd = self.objects[name] = self.objects.get(name) or self.open_file(name)
        return self.open_block(fd, ref, inode.get("key"), b"chunk", 2, number, index,
                               f"Verification of file chunk {index} of inode {number} failed.")

    def walk(self):
        todo, seen = [(b"", 1)], {1}
        while todo:
            path, directory = todo.pop()
            for name, child in sorted(self.entries(directory)):
                below, inode = path + b"/" + name, self.inode(child)
                yield below, child, inode
                if inode["type"] == 2:
                    need(child not in seen, "a directory is named twice")
                    seen.add(child)
                    todo.append((below, child))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    for option in ("--key-file", "--tag", "--root"):
        parser.add_argument(option)
    parser.add_argument("command", nargs="?", default="ls", choices=("ls", "cat", "digest"))
    parser.add_argument("path", nargs="?")
    args = parser.parse_intermixed_args()
    out = sys.stdout.buffer
    try:
        if args.root:
            volume = Volume(args.folder, root=bytes.fromhex(args.root))
        elif args.key_file and args.tag:
            with open(args.key_file, "rb") as file:
                raw = file.read(65)
            key = raw if len(raw) == 32 else bytes.fromhex(raw.decode("ascii", "replace").strip())
            volume = Volume(args.folder, key=key, tag=bytes.fromhex(args.tag))
        else:
            parser.error("give --key-file and --tag, or --root")
        for path, number, inode in volume.walk():
            if args.command == "ls":
                out.write(path + b"\n")
            elif args.command == "cat" and path == os.fsencode(args.path or ""):
                out.writelines(volume.content(number))
            elif args.command == "digest":
                digest = hashlib.sha256()
                for block in volume.content(number) if inode["type"] != 2 else ():
                    digest.update(block)
                lines = [f"{' fdl'[inode['type']]} {inode['permissions']:04o} {inode['size']} {digest.hexdigest()} "]
                for name, value in volume.attributes(number):
                    lines.append(f"x {name.hex()} {len(value)} {hashlib.sha256(value).hexdigest()} ")
                out.writelines(line.encode() + path + b"\n" for line in lines)
    except (Damaged, IndexError, ValueError, struct.error) as error:
        print(f"volume_reader: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # as other programs: nothing is said when whoever reads the output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)

#!/usr/bin/env python3
"""SQLite on a mounted volume whose server is killed with SIGKILL, again and again.

Usage: sqlite_kill.py CLOISTER [--rounds N] [--seed S]

Every round mounts the volume at the tag that its tag file holds, lets a writer commit transactions, kills the
server at a random moment, and mounts again: the database must pass PRAGMA integrity_check and hold every
transaction that the writer was told is committed. Journal modes take turns. Exit code 77: no /dev/fuse.
"""
import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

MODES = ("DELETE", "WAL", "TRUNCATE", "PERSIST")


def writer(database, mode):
    """Commits rows of growing number and says so, one line each, until something fails."""
    db = sqlite3.connect(database, isolation_level=None)
    db.execute(f"PRAGMA journal_mode={mode}")
    # Killing the server is a power cut for SQLite. In DELETE mode FULL does not sync the folder after removing
    # the journal, on any file system: the last transaction may be rolled back. EXTRA does.
    db.execute("PRAGMA synchronous=EXTRA")
    db.execute("CREATE TABLE IF NOT EXISTS rows(id INTEGER PRIMARY KEY, filler BLOB)")
    db.execute("CREATE INDEX IF NOT EXISTS sizes ON rows(length(filler))")
    last = db.execute("SELECT coalesce(max(id), 0) FROM rows").fetchone()[0]
    while True:
        db.execute("BEGIN IMMEDIATE")
        for _ in range(random.randrange(1, 5)):
            last += 1
            db.execute("INSERT INTO rows VALUES(?, ?)", (last, os.urandom(random.randrange(10, 9000))))
        if last > 400:
            db.execute("DELETE FROM rows WHERE id < ?", (last - 300,))
        db.execute("COMMIT")
        # SQLite takes a folder that it cannot open for one that needs no sync: a COMMIT that meets the kill
        # between removing the journal and that sync succeeds. Whoever can open the folder now could do so then.
        os.close(os.open(os.path.dirname(database), os.O_RDONLY | os.O_DIRECTORY))
        os.write(1, f"{last}\n".encode())


class Round:
    def __init__(self, cloister, folder):
        self.cloister = cloister
        self.folder = folder
        self.mountpoint = os.path.join(folder, "mnt")

    def command(self, *words):
        return [self.cloister, "volume", *words, "--key-file", f"{self.folder}/key", "--tag-file", f"{self.folder}/tag"]

    def mount(self):
        server = subprocess.Popen(self.command("mount", f"{self.folder}/vol", self.mountpoint, "--foreground",
                                               "--commit-every", "1"))
        deadline = time.monotonic() + 30
        while not os.path.ismount(self.mountpoint):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the volume does not mount (exit code {server.poll()})")
            time.sleep(0.005)
        return server

    def unmount(self, server, kill):
        if kill:
            server.send_signal(signal.SIGKILL)
            server.wait()
        subprocess.run(["umount", "-l", self.mountpoint], check=True)
        if not kill and server.wait(60) != 0:
            raise SystemExit("the server failed at the end")

    def run(self, mode, delay):
        """One life; the number of the last row that was acknowledged."""
        server = self.mount()
        child = subprocess.Popen([sys.executable, __file__, "--writer", f"{self.mountpoint}/db", mode],
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        first = child.stdout.readline()
        time.sleep(delay)
        server.send_signal(signal.SIGKILL)
        lines = [first] + child.stdout.read().split(b"\n")
        child.wait()
        self.unmount(server, True)
        return max([int(line) for line in lines if line.strip()], default=0)

    def check(self, acknowledged, mode):
        server = self.mount()
        db = sqlite3.connect(f"{self.mountpoint}/db")
        verdict = db.execute("PRAGMA integrity_check").fetchall()
        last = db.execute("SELECT coalesce(max(id), 0) FROM rows").fetchone()[0]
        db.close()
        self.unmount(server, False)
        if verdict != [("ok",)]:
            raise SystemExit(f"integrity_check: {verdict[:3]}")
        if last < acknowledged:
            raise SystemExit(f"row {acknowledged} was acknowledged, the last one there is {last} ({mode})")
        return last


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cloister")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not os.path.exists("/dev/fuse") or os.geteuid() != 0:
        print("skipped: no /dev/fuse here, or not root")
        return 77
    random.seed(options.seed)
    folder = tempfile.mkdtemp()
    life = Round(os.path.realpath(options.cloister), folder)
    try:
        os.mkdir(life.mountpoint)
        subprocess.run(life.command("create", f"{folder}/vol"), check=True)
        total = acknowledged = 0
        for number in range(options.rounds):
            mode = MODES[number % len(MODES)]
            written = life.run(mode, random.random() * 0.4)
            if written == 0:  # run waits for the first row, so the writer itself failed
                raise SystemExit(f"round {number} ({mode}) wrote no row: it shows nothing")
            acknowledged = max(acknowledged, written)
            total = life.check(acknowledged, mode)
        subprocess.run(life.command("fsck", f"{folder}/vol"), check=True, stdout=subprocess.DEVNULL)
        print(f"{options.rounds} kills survived, {total} rows, none lost (seed {options.seed})")
        return 0
    finally:
        if os.path.ismount(life.mountpoint):
            subprocess.run(["umount", "-l", life.mountpoint], check=False)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--writer"]:
        writer(sys.argv[2], sys.argv[3])
    sys.exit(main())

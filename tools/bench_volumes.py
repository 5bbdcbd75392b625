#!/usr/bin/env python3
"""Volumes against a plain folder, gocryptfs, CryFS and securefs, all in one run on one machine.

Usage: bench_volumes.py BIN_DIR [--folder /dev/shm] [--size MIB] [--files N] [--rounds N] [--only NAME,…]

Every round visits all targets in turn, each with a fresh store; before every reading row the file system is
mounted anew, so that nothing is in its caches (the store itself may be in the host's). Prints two tables of
medians: elapsed time, and processor time of the workload and the file system's process together, which other
work on the machine disturbs much less (without the kernel's own threads).
Needs root and /dev/fuse for everything but the library; a peer that is not installed is left out by name.
"""
import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROWS = ["sequential-write", "sequential-read", "random-read", "random-write", "write-and-sync", "create", "read",
        "stat", "delete"]
UNITS = {"sequential-write": "MB/s", "sequential-read": "MB/s"}
COLD = {"sequential-read", "random-read", "read", "stat", "delete"}


def run(*words, **keywords):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **keywords)


def wait_for_mount(mountpoint):
    for _ in range(400):
        if os.path.ismount(mountpoint):
            return
        time.sleep(0.01)


class Plain:
    """The host's own file system."""
    name = "plain folder"
    tools = ()
    kind = "folder"
    process = ""  # what its server is called

    def __init__(self, bin_dir, base):
        self.bin, self.base = bin_dir, base
        self.store, self.mountpoint = f"{base}/store", f"{base}/mnt"
        os.mkdir(self.mountpoint)
        self.make()

    def make(self):
        pass

    def mount(self):
        pass

    def unmount(self):
        if not os.path.ismount(self.mountpoint):
            return
        for _ in range(200):
            if subprocess.run(["umount", self.mountpoint], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                break
            time.sleep(0.05)
        self.wait_for_end()

    def wait_for_end(self):
        time.sleep(0.2)

    def place(self):
        return self.mountpoint


class Library(Plain):
    name = "cloister, in process"
    kind = "library"

    def place(self):
        return self.store


class Memory(Library):
    name = "cloister, in process, memory"

    def place(self):
        return ""


class Mounted(Plain):
    name = "cloister, mounted"
    tools = ("fusermount3",)
    process = "cloister"

    def options(self):
        return "--key-file", f"{self.base}/key", "--tag-file", f"{self.base}/tag"

    def make(self):
        run(f"{self.bin}/cloister", "volume", "create", self.store, *self.options())

    def mount(self):
        run(f"{self.bin}/cloister", "volume", "mount", self.store, self.mountpoint, *self.options())

    def unmount(self):
        run(f"{self.bin}/cloister", "volume", "unmount", self.mountpoint)


class MountedWithoutFile(Mounted):
    """Promises what the others do: nobody keeps the tags that it prints, so an older state is not told from the newest."""
    name = "cloister, mounted, no tag kept"

    def options(self):
        return "--key-file", f"{self.base}/key"

    def mount(self):
        words = f"{self.bin}/cloister", "volume", "mount", self.store, self.mountpoint, *self.options()
        self.server = subprocess.Popen([*words, "--without-freshness", "--foreground"], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
        wait_for_mount(self.mountpoint)

    def unmount(self):
        super().unmount()
        self.server.wait()


class Gocryptfs(Plain):
    name = "gocryptfs"
    tools = ("gocryptfs",)
    process = "gocryptfs"

    def make(self):
        os.mkdir(self.store)
        with open(f"{self.base}/password", "w", encoding="ascii") as file:
            file.write("benchmark\n")
        run("gocryptfs", "-q", "-init", "-scryptn", "10", "-passfile", f"{self.base}/password", self.store)

    def mount(self):
        run("gocryptfs", "-q", "-passfile", f"{self.base}/password", self.store, self.mountpoint)


class Cryfs(Plain):
    name = "CryFS"
    tools = ("cryfs",)
    process = "cryfs"

    def mount(self):
        os.makedirs(self.store, exist_ok=True)
        environment = dict(os.environ, CRYFS_FRONTEND="noninteractive", CRYFS_NO_UPDATE_CHECK="true",
                           CRYFS_LOCAL_STATE_DIR=f"{self.base}/state")
        run("cryfs", "--cipher", "aes-256-gcm", self.store, self.mountpoint, input=b"benchmark\n", env=environment)


class Securefs(Plain):
    name = "securefs (lite)"
    tools = ("securefs",)
    process = "securefs"

    def make(self):
        os.mkdir(self.store)
        run("securefs", "create", "--pass", "benchmark", "-r", "1", self.store)

    def mount(self):
        run("securefs", "mount", "-b", "--pass", "benchmark", self.store, self.mountpoint)
        wait_for_mount(self.mountpoint)


TARGETS = (Plain, Memory, Library, Mounted, MountedWithoutFile, Gocryptfs, Cryfs, Securefs)


def server_seconds(target):
    """Processor time so far of the processes that serve the target."""
    ticks = 0
    for entry in os.listdir("/proc") if target.process else ():
        try:
            with open(f"/proc/{int(entry)}/stat", encoding="utf-8") as file:
                name, rest = file.read().rsplit(")", 1)
            with open(f"/proc/{entry}/cmdline", encoding="utf-8", errors="replace") as file:
                mine = target.mountpoint in file.read()
        except (ValueError, OSError):
            continue
        if mine and name.endswith("(" + target.process):
            ticks += sum(int(field) for field in rest.split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def operations(options, row):
    """What processor time is divided by: operations, or MB."""
    return {"sequential-write": options.size * 1.048576, "sequential-read": options.size * 1.048576,
            "write-and-sync": 100}.get(row, options.files)


def measure(options, target, row):
    """The row's own number, and microseconds of processor time per operation or MB."""
    words = [f"{options.bin}/volume_workload", target.kind, target.place(), row, str(options.size), str(options.files)]
    before, served = resource.getrusage(resource.RUSAGE_CHILDREN), server_seconds(target)
    value = float(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime + server_seconds(target) - served
    return value, seconds * 1e6 / operations(options, row)


def one_round(options, targets, results, costs):
    for kind in targets:
        base = tempfile.mkdtemp(dir=options.folder)
        target = kind(options.bin, base)
        try:
            target.mount()
            for row in ROWS:
                if kind is Memory and not row.startswith(("seq", "random")):
                    continue
                if row in COLD:
                    target.unmount()
                    target.mount()
                value, cost = measure(options, target, row)
                results.setdefault((kind.name, row), []).append(value)
                costs.setdefault((kind.name, row), []).append(cost)
                print(f"{kind.name}: {row} {value:.1f}, processor {cost:.1f}", file=sys.stderr)
        except subprocess.CalledProcessError as problem:
            print(f"{kind.name}: {problem}", file=sys.stderr)
        finally:
            if kind.kind == "folder":
                try:
                    target.unmount()
                except subprocess.CalledProcessError:
                    subprocess.run(["umount", "-l", target.mountpoint], check=False)
            shutil.rmtree(base, ignore_errors=True)


def table(targets, results, units):
    heads = [f"{row} {units.get(row, 'µs')}" for row in ROWS]
    print("| target | " + " | ".join(heads) + " |")
    print("|---|" + "---|" * len(ROWS))
    for kind in targets:
        cells = []
        for row in ROWS:
            values = results.get((kind.name, row))
            cells.append("-" if not values else f"{statistics.median(values):.0f}" if row in UNITS or
                         statistics.median(values) >= 100 else f"{statistics.median(values):.1f}")
        print(f"| {kind.name} | " + " | ".join(cells) + " |")


def serial_bound(results, ceiling):
    """The library's sequential rows as parts of what copying and ciphering one after the other could reach."""
    parts = []
    for row in ("sequential-write", "sequential-read"):
        plain, library = (results.get((kind.name, row)) for kind in (Plain, Library))
        if plain and library:
            bound = 1 / (1 / statistics.median(plain) + 1 / ceiling)
            parts.append(f"{row} {statistics.median(library) / bound:.2f}")
    return "; in process, of the bound 1/(1/plain + 1/AES): " + ", ".join(parts) if parts else ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin")
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--files", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    targets = []
    may_mount = os.path.exists("/dev/fuse") and os.geteuid() == 0
    for kind in TARGETS:
        if options.only and not any(word in kind.name for word in options.only.split(",")):
            continue
        absent = [tool for tool in kind.tools if shutil.which(tool) is None]
        if absent or (kind.tools and not may_mount):
            print(f"left out: {kind.name} ({'no ' + absent[0] if absent else 'needs root and /dev/fuse'})")
            continue
        targets.append(kind)
    results, costs = {}, {}
    ceilings = []
    for _ in range(options.rounds):
        words = [f"{options.bin}/volume_workload", "library", "", "ceiling", "1024"]
        ceilings.append(float(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout))
        one_round(options, targets, results, costs)
    print(f"{options.size} MiB, {options.files} files of 4 KiB, medians of {options.rounds} rounds on {options.folder}; "
          f"AES-256-GCM alone: {statistics.median(ceilings):.0f} MB/s{serial_bound(results, statistics.median(ceilings))}")
    table(targets, results, UNITS)
    print("\nprocessor time (the memory row includes filling the memory):")
    table(targets, costs, {row: "µs/MB" for row in UNITS})


if __name__ == "__main__":
    main()

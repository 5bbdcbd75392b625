#!/usr/bin/env python3
"""Every system call of src/enclave/syscalls/table.inc is made by a case here: strace counts what they do natively. What each
program does at its start is no case. Prints how many; fails and names those that no case makes.

Exit code 77: strace is not installed, or may not trace here.
"""
import collections
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TABLE = HERE.parent.parent / "src/enclave/syscalls/table.inc"
# How every program ends; syscalls_test.sh compares with what.
END = {"exit_group"}


def calls_of(case, folder):
    trace = folder / f"{case}.trace"
    traced = subprocess.Popen(["strace", "-f", "-qq", "-e", "signal=none", "-o", trace, "./cases", case], cwd=folder,
                              env=os.environ | {"TMPDIR": str(folder)}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        traced.wait(timeout=60)
    except subprocess.TimeoutExpired:  # a case may wait for what strace keeps from it: what it called until then counts
        print(f"{case} did not end under strace")
        os.killpg(traced.pid, signal.SIGKILL)
        traced.wait()
    return collections.Counter(re.findall(r"^\d+ +(\w+)\(", trace.read_text(errors="replace"), re.M))


def main():
    if shutil.which("strace") is None or subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], check=False).returncode != 0:
        print("skipped: strace is not installed, or may not trace here")
        return 77
    rows = re.findall(r"^SYSCALL\((\d+), (\w+),", TABLE.read_text(), re.M)
    table = [name for _, name in rows]
    by_number = {f"syscall_{int(number):#x}": name for number, name in rows}  # strace of calls younger than it
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        names = subprocess.run([HERE / "build_cases.sh"], cwd=folder, check=True, capture_output=True, text=True).stdout.split()
        start = calls_of("no-such-case", folder)
        made = set(END)
        for case in names:
            made |= {by_number.get(call, call) for call in calls_of(case, folder) - start}
    missing = [call for call in table if call not in made]
    print(f"syscalls: {len(table) - len(missing)} of {len(table)} calls are made by a case")
    if missing:
        print("without: " + " ".join(missing))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())

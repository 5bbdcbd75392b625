#!/usr/bin/env python3
"""Every system call of src/enclave/syscalls/table.inc has a case here: some *.c calls it, by its own name or by the name
under which the C library offers it. Prints how many; fails and names those that have none."""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
TABLE = HERE.parent.parent / "src/enclave/syscalls/table.inc"

# What the C library calls them, where the names differ, and what cannot be done without them.
OTHER_NAMES = {
    "pread64": ["pread"], "pwrite64": ["pwrite"], "newfstatat": ["fstatat"], "getdents64": ["readdir"],
    "rt_sigaction": ["sigaction", "signal"], "rt_sigreturn": ["sigaction", "signal"],
    "rt_sigprocmask": ["sigprocmask"], "rt_sigpending": ["sigpending"], "rt_sigsuspend": ["sigsuspend"],
    "rt_sigtimedwait": ["sigtimedwait"], "rt_sigqueueinfo": ["sigqueue"], "pselect6": ["pselect"],
    "wait4": ["waitpid"], "clone": ["pthread_create"], "clone3": ["pthread_create"], "exit": ["pthread_create"],
    "set_robust_list": ["pthread_create"], "eventfd2": ["eventfd"], "prlimit64": ["prlimit"],
    "fadvise64": ["posix_fadvise"], "exit_group": ["_exit"],
}


def main():
    text = "\n".join(path.read_text() for path in sorted(HERE.glob("*.c")))
    text = re.sub(r'"(\\.|[^"\\])*"|//[^\n]*', "", text)  # a name in a text or a remark is no call
    calls = re.findall(r"^SYSCALL\(\d+, (\w+),", TABLE.read_text(), re.M)
    missing = [call for call in calls
               if not any(re.search(rf"\b{name} *\(|\bSYS_{name}\b", text)
                          for name in [call] + OTHER_NAMES.get(call, []))]
    print(f"syscalls: {len(calls) - len(missing)} of {len(calls)} calls have a case")
    if missing:
        print("without: " + " ".join(missing))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())

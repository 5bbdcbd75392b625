#!/usr/bin/env python3
"""Real programs in enclaves whose host lies in some of its replies (lying_host.cpp), each with many seeds.

A run may end with the right result, with an error that the program reports, or with a refusal of the enclave that says
why. It may not crash, hang, succeed with another result, or let the secret of guest.c out.

A failure names program, seed and rate; with threads a seed may need several tries.
Usage: lies_test.py CLOISTER LYING_HOST [--seeds N] [--program NAME --seed N --rate N]; CLOISTER_LONG_TESTS=1 runs twenty
times as many.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
RATES = (400, 60, 15)  # one lie in so many replies
SECONDS = 60
REFUSALS = {3, 4, 5, 70}
# What only a mistake of the kernel or of the host's loader prints.
MISTAKES = ("kernel bug", "kernel fault", "in the host part", "in an unknown way", "no free SSA", "ENCLU:", "WRONG")
SQL = ("create table t(a,b); insert into t values(1,2),(3,4); create index i on t(a); update t set b=b*2; "
       "select sum(a*b) from t; pragma integrity_check;")

# Name, arguments, what it prints.
PROGRAMS = {
    "cat": (["cat", "/data/text"], None),
    "sqlite3": (["sqlite3", "/tmp/t.db", SQL], b"28\nok\n"),
    "echo": (["guest", "echo"], b"echo 65536\n"),
    "timer": (["guest", "timer"], b"timer ok\n"),
    "threads": (["guest", "threads"], b"threads ok\n"),
    "touch": (["guest", "touch"], b"touch ok\n"),
}
# Most calls are those of a start. In these runs the lies wait for others: program, seed, rate, lies, end, calls.
LATER = [("echo", seed, 8, None, None, word) for seed in range(1, 31) for word in ("Socket", "Poll")]
LATER += [("echo", seed, 1, None, None, f"Socket{word}") for seed in range(1, 17)
          for word in ("Open", "Connect", "Bind", "Listen", "Accept", "Name", "Close")]
LATER += [("timer", seed, rate, None, None, word) for seed in range(1, 16) for rate, word in ((4, "Clock"), (1, "Alarm"))]
LATER += [("timer", seed, 1, "time", None, None) for seed in range(1, 11)]
LATER += [("threads", seed, 8, None, None, "Unpark") for seed in range(1, 11)]
LATER += [("sqlite3", seed, 1, None, None, "Console") for seed in range(1, 21)]
# What must have been lied about, and in which ways, for this test to have tested something. The other calls belong to
# volumes, which have tests of their own, or are not answered.
CALLS = ("ConsoleInfo ConsoleWrite Clock ThreadStart Park Unpark MemoryCommit MemoryProtect MemoryRelease StorageBind "
         "StorageOpen StorageRead SocketOpen SocketConnect SocketBind SocketListen SocketAccept SocketSend SocketReceive "
         "SocketClose SocketName SocketPoll LaunchInfo Alarm PollSetOpen PollSetControl PollSetWait PollSetClose "
         "MemorySettle").split()
LIES = "error error-after storm short number values content time events kick start memory".split()
# Lies that once did harm: program, seed, rate, the lies that are told, how it has to end (None: in any good way).
# A thread that runs although its start has "failed" must not lose its stack and its slot to the next one.
REGRESSIONS = [("threads", seed, 4, "start", "right") for seed in range(1, 9)]
# Memory refused at a page fault was a SIGSEGV, at the host's choice.
REGRESSIONS += [("touch", seed, 12, "memory", None) for seed in range(1, 25)]


def build(cloister, work):
    subprocess.run(["gcc", "-O1", "-pthread", HERE / "guest.c", "-o", work / "guest"], check=True)
    (work / "data").mkdir()
    text = b"".join(b"%d lines of text\n" % i for i in range(20000))
    (work / "data/text").write_bytes(text)
    programs = [shutil.which("env"), shutil.which("cat"), shutil.which("sqlite3"), f"{work}/guest:/usr/bin/guest"]
    words = [word for program in programs for word in ("--program", program)]
    subprocess.run([cloister, "build", *words, "--copy", f"{work}/data:/data", "--heap", "64M", "--threads", "8",
                    "-o", work / "all.enclave"], check=True, stdout=subprocess.DEVNULL)
    PROGRAMS["cat"] = (PROGRAMS["cat"][0], text)


def judge(name, code, out, err, wanted):
    """The kind of end, and what is wrong with it."""
    text = err.decode(errors="replace")
    for mistake in MISTAKES:
        if mistake in text:
            return "mistake", mistake
    if code == 0:
        # sqlite3 does not look at what its writes return, outside as little as inside: where the host has refused one,
        # that may be missing, but it is nothing else.
        refused = name == "sqlite3" and re.search(r"^lying_host: .* ConsoleWrite, ", text, re.M)
        behind = out[len(os.path.commonprefix([out, wanted])):]  # the writes after a refused one
        same = out == wanted or (refused and wanted.endswith(behind))
        return "right", None if same else "another result, and no error"
    if code < 0:
        return "crash", f"the host died of signal {-code}"
    if code >= 97:
        if code in (97, 98, 99) or code in (132, 134, 135, 136, 139):
            return "crash", f"exit code {code}"
    said = [line for line in text.splitlines() if not line.startswith("lying_host: ")]
    if not said:
        return "silent", f"exit code {code} without a word"
    return ("refused" if code in REFUSALS else "reported"), None


def run(host, work, name, seed, rate, lies=None, must=None, calls=None):
    arguments, wanted = PROGRAMS[name]
    environment = os.environ | ({"LYING_HOST_LIES": lies} if lies else {}) | ({"LYING_HOST_CALLS": calls} if calls else {})
    try:
        done = subprocess.run([host, str(seed), str(rate), work / "all.enclave", *arguments], capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=SECONDS, cwd=work, env=environment)
    except subprocess.TimeoutExpired as late:
        return "hang", "no end", (late.stderr or b"")
    kind, wrong = judge(name, done.returncode, done.stdout, done.stderr, wanted)
    if must and not wrong and kind != must:
        wrong = f"it ended {kind} (exit code {done.returncode})"
    return kind, wrong, done.stderr


def check_search(host, work):
    """The search of what leaves the enclave must find a secret that does."""
    done = subprocess.run([host, "1", "1000000", work / "all.enclave", "guest", "leak"], capture_output=True, timeout=SECONDS)
    if done.returncode != 99:
        sys.exit(f"FAILED: the secret left the enclave unseen (exit code {done.returncode}): the search proves nothing")


class Count:
    """Of the ends, and of what was told: whether it is enough to have tested something."""

    def __init__(self):
        self.kinds, self.calls, self.lies, self.failures, self.runs = Counter(), Counter(), Counter(), [], 0

    def add(self, kind, err):
        self.runs += 1
        self.kinds[kind] += 1
        for call, lie in re.findall(rb"^lying_host: thread \d+, (\w+), ([\w-]+), ", err, re.M):
            self.calls[call.decode()] += 1
            self.lies[lie.decode()] += 1

    def __str__(self):
        ends = ", ".join(f"{kind} {count}" for kind, count in sorted(self.kinds.items()))
        return f"{self.runs} runs, {self.lies.total()} lies about {len(self.calls)} calls: {ends}"

    def lacks(self):
        yield from (f"the end {kind}" for kind in ("right", "refused", "reported") if not self.kinds[kind])
        yield from (f"a lie about {call}" for call in CALLS if not self.calls[call])
        yield from (f"five lies of the kind {lie}" for lie in LIES if self.lies[lie] < 5)
        if self.lies.total() - self.lies["time"] < self.runs:  # those are many, and of a few runs
            yield "a lie for each run"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("cloister")
    options.add_argument("host")
    options.add_argument("--seeds", type=int, default=120 * (20 if os.environ.get("CLOISTER_LONG_TESTS") else 1))
    options.add_argument("--seed", type=int)
    options.add_argument("--rate", type=int)
    options.add_argument("--program", choices=PROGRAMS)
    options.add_argument("--lies", help="only these kinds, with commas; LYING_HOST_CALLS: only in these calls")
    options = options.parse_args()
    options.host = os.path.abspath(options.host)
    names = [options.program] if options.program else list(PROGRAMS)
    seeds = [options.seed] if options.seed is not None else range(1, options.seeds + 1)
    runs = [] if options.program else REGRESSIONS + LATER
    runs += [(name, seed, options.rate or RATES[seed % len(RATES)], options.lies) for seed in seeds for name in names]
    count = Count()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ.update(CLOISTER_CONFIG=f"{work}/config", CLOISTER_SIM_STATE=f"{work}/sim", LC_ALL="C")
        build(options.cloister, work)
        check_search(options.host, work)
        with concurrent.futures.ThreadPoolExecutor(2 * os.cpu_count()) as pool:
            ends = pool.map(lambda one: run(options.host, work, *one), runs)
            for one, (kind, wrong, err) in zip(runs, ends):
                count.add(kind, err)
                text = err.decode(errors="replace")
                if wrong:
                    count.failures.append(f"{one[0]} --seed {one[1]} --rate {one[2]} {one[3:]}: {wrong}\n{text[-600:]}")
                elif options.seed is not None:
                    print(kind, text)
    print(count)
    if count.failures:
        sys.exit("FAILED: --program " + "\nFAILED: --program ".join(count.failures[:20]) +
                 f"\n{len(count.failures)} of {count.runs} runs")
    lacking = [] if options.seed is not None or options.program else list(count.lacks())
    if lacking:
        sys.exit("FAILED: what was told tests too little, there was not " + ", not ".join(lacking))


if __name__ == "__main__":
    main()

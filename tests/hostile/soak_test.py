#!/usr/bin/env python3
"""Two enclaves under work for a while: python3 with threads, children, pipes, sockets and SQLite, its own
and a child's; redis with clients. Neither what the host process holds nor what the enclave has given to its program may keep growing.

Usage: soak_test.py CLOISTER [SECONDS]; 15 seconds, ten minutes with CLOISTER_LONG_TESTS=1. Exit code 77: something is
not installed.
"""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# A fifth of the time is for caches and pools to fill. After it a leak of one page a round would exceed the larger one in
# ten minutes, a leak of eight pages the smaller one in 15 seconds.
ALLOWED_KB, ALLOWED_SHORT_KB, SHORT = 12 << 10, 3 << 10, 60

WORKER = r"""
import mmap, os, socket, sqlite3, subprocess, sys, threading, time
base = sqlite3.connect("/tmp/own.db")
base.execute("create table t(a integer primary key, b blob)")
base.execute("create index i on t(b)")
end = time.monotonic() + float(sys.argv[1])
rounds = 0

def work(number):
    path = f"/tmp/file-{number}"
    with open(path, "wb") as out:
        out.write(os.urandom(1 << 16))
    os.unlink(path)

# Every thread of the image has its own place in the host for what it reads; these fill most of them before anything is measured.
early = [subprocess.Popen(["/usr/bin/sqlite3", ":memory:", "select 1;"], stdout=subprocess.DEVNULL) for _ in range(10)]
for child in early: child.wait()

while time.monotonic() < end:
    rounds += 1
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    one, two = socket.socketpair()
    one.sendall(b"x" * 4096)
    assert len(two.recv(8192)) == 4096
    one.close(); two.close()
    area = mmap.mmap(-1, 1 << 22)
    area[:4] = b"used"
    area.close()
    for n in range(5):
        with base:
            base.executemany("insert into t(b) values(?)", ((os.urandom(100),) for _ in range(100)))
    assert base.execute("select count(*) from t where b > x'80'").fetchone()[0] > 100
    with base:
        base.execute("delete from t")
    child = os.fork()
    if child == 0: os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    done = subprocess.run(["/usr/bin/sqlite3", "/tmp/t.db", "create table if not exists t(a); delete from t;"
                           "insert into t values(randomblob(20000)); select count(*) from t;"], capture_output=True)
    assert done.stdout == b"1\n", done
    used = [line for line in open("/proc/self/status") if line.startswith("VmRSS")][0].split()[1]
    print(rounds, used, flush=True)
"""


def build(cloister, work):
    version = "python%d.%d" % tuple(map(int, subprocess.check_output(
        ["/usr/bin/python3", "-c", "import sys; print(*sys.version_info[:2])"]).split()))
    (work / "worker.py").write_text(WORKER)
    libraries = subprocess.run("ldd /usr/lib/%s/lib-dynload/_sqlite3.*.so" % version, shell=True, check=True, text=True,
                               capture_output=True).stdout
    sqlite = re.search(r"=> (\S*libsqlite3\S*)", libraries).group(1)
    python = ["--program", f"{os.path.realpath('/usr/bin/python3')}:/usr/bin/python3", "--copy",
              f"/usr/lib/{version}:/usr/lib/{version}", "--copy", f"{work}/worker.py:/worker.py", "--program",
              shutil.which("sqlite3"), "--copy", f"{os.path.realpath(sqlite)}:/usr{sqlite.removeprefix('/usr')}", "--heap", "512M", "--threads", "16"]
    redis = ["--program", f"{shutil.which('redis-server')}:/redis-server", "--heap", "512M", "--threads", "16"]
    for words, name in ((python, "python"), (redis, "redis")):
        subprocess.run([cloister, "build", *words, "-o", work / f"{name}.enclave"], check=True, stdout=subprocess.DEVNULL)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for_listener(port, process):
    for _ in range(300):
        with socket.socket() as one:
            if process.poll() is not None or one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


def host_kb(process):
    """The least of a moment, in which children come and go. None: it is just ending."""
    seen = []
    for _ in range(20):
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
        if not found:
            return None
        seen.append(int(found.group(1)))
        time.sleep(0.02)
    return min(seen)


def redis_kb(port):
    text = subprocess.run(["redis-cli", "-p", str(port), "info", "memory"], capture_output=True, text=True, check=True)
    return int(re.search(r"used_memory_rss:(\d+)", text.stdout).group(1)) >> 10


def python_kb(log):
    lines = log.read_text().splitlines()
    return int(lines[-1].split()[1]) if lines else 0


def soak(cloister, work, seconds):
    port, log = free_port(), work / "rounds"
    with open(log, "wb") as out, open(work / "errors", "wb") as errors:
        python = subprocess.Popen([cloister, "run", work / "python.enclave", "/worker.py", str(seconds)], stdout=out,
                                  stderr=errors, stdin=subprocess.DEVNULL)
        redis = subprocess.Popen([cloister, "run", work / "redis.enclave", "--port", str(port), "--bind", "127.0.0.1",
                                  "--save", "", "--dir", "/tmp"], stdout=errors, stderr=errors, stdin=subprocess.DEVNULL)
    try:
        samples, begin = [], time.monotonic()
        wait_for_listener(port, redis)  # without it redis-benchmark would try for ever
        while python.poll() is None:
            done = subprocess.run(["redis-benchmark", "-p", str(port), "-n", "4000", "-c", "20", "-q", "-t",
                                   "set,get,incr,mset"], capture_output=True, timeout=60)
            if redis.poll() is not None:
                sys.exit(f"FAILED: redis ended with {redis.returncode}: {(work / 'errors').read_text()[-500:]}")
            if done.returncode == 0 and time.monotonic() - begin > seconds / 5 and python.poll() is None:
                sample = (host_kb(python), python_kb(log), host_kb(redis), redis_kb(port))
                if None not in sample:
                    samples.append(sample)
        if python.returncode != 0:
            sys.exit(f"FAILED: python3 ended with {python.returncode}: {(work / 'errors').read_text()[-500:]}")
    finally:
        for process in (python, redis):
            process.kill()
            process.wait()
    return samples, len(log.read_text().splitlines())


def main():
    for program in ("/usr/bin/python3", "sqlite3", "redis-server", "redis-benchmark", "redis-cli"):
        if shutil.which(program) is None:
            print(f"skipped: {program} is not installed")
            sys.exit(77)
    cloister = os.path.abspath(sys.argv[1])
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 600 if os.environ.get("CLOISTER_LONG_TESTS") else 15
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ.update(CLOISTER_CONFIG=f"{work}/config", CLOISTER_SIM_STATE=f"{work}/sim", CLOISTER_LOG="error")
        build(cloister, work)
        samples, rounds = soak(cloister, work, seconds)
    if len(samples) < 4 or rounds < 4:
        sys.exit(f"FAILED: {len(samples)} samples, {rounds} rounds: too few to see anything grow")
    # Peaks come and go: what is compared is the least of the first and of the last quarter.
    quarter = max(len(samples) // 4, 1)
    names = ("host of python3", "memory of python3", "host of redis", "memory of redis")
    for name, first, last in zip(names, map(min, zip(*samples[:quarter])), map(min, zip(*samples[-quarter:]))):
        print(f"{name}: {first} kB, then {last} kB")
        if last > first + (ALLOWED_KB if seconds > SHORT else ALLOWED_SHORT_KB):
            sys.exit(f"FAILED: {name} grew by {last - first} kB in {rounds} rounds")
    print(f"soak: {rounds} rounds in {seconds} s")


if __name__ == "__main__":
    main()

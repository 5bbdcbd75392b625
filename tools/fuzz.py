#!/usr/bin/env python3
"""Runs fuzz targets until each has used its share of CPU time; ends with 1 when one found something or was stopped.

usage: fuzz.py BUILD [SECONDS] [TARGET...]

What a target learns stays in BUILD/corpus/TARGET, so a later run goes on from there. What it found, and its messages,
are in BUILD/findings/TARGET. One line per target tells the time used, the inputs tried and the edges covered.
"""
import math
import os
import pathlib
import re
import subprocess
import sys


def seeds(target):
    return [str(path) for path in pathlib.Path("src").glob(f"*/corpus/{target}")]


def run(build, target, seconds):
    corpus, findings = build / "corpus" / target, build / "findings" / target
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    log = findings / "log"
    command = [str(build / "bin" / f"{target}_fuzz"), "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1",
               f"-artifact_prefix={findings}/", str(corpus), *seeds(target)]
    used, status = 0.0, 0
    with log.open("wb") as output:
        while status == 0 and used < seconds:
            slice_end = f"-max_total_time={max(1, math.ceil(seconds - used))}"  # of the clock, so there may be several
            process = subprocess.Popen(command + [slice_end], stdout=output, stderr=output, stdin=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            used += usage.ru_utime + usage.ru_stime
    text = log.read_text(errors="replace")
    tried = sum(int(count) for count in re.findall(r"number_of_executed_units: (\d+)", text))
    covered = re.findall(r"cov: (\d+)", text)
    ended = "clean" if status == 0 else f"FOUND SOMETHING, see {log}"
    if os.WIFSIGNALED(status):  # what a target finds ends it with a code
        ended = f"stopped by signal {os.WTERMSIG(status)}"
    print(f"{target}: {ended}, {used:.0f} s of CPU time, {tried} inputs, {covered[-1] if covered else '?'} edges",
          flush=True)
    return status == 0


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build, rest = pathlib.Path(sys.argv[1]), sys.argv[2:]
    seconds = float(rest.pop(0)) if rest and re.fullmatch(r"[0-9]+", rest[0]) else 60.0
    known = sorted(path.name.removesuffix("_fuzz") for path in (build / "bin").glob("*_fuzz"))
    unknown = [target for target in rest if target not in known]
    if unknown or not known:
        sys.exit(f"fuzz.py: no such target: {' '.join(unknown)}; there are: {' '.join(known)}")
    results = [run(build, target, seconds) for target in rest or known]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()

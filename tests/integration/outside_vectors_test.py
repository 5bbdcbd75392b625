#!/usr/bin/env python3
"""Every SEV-SNP report by AMD and a part of the quotes of an outside set of evidence, through the command.

usage: outside_vectors_test.py CLOISTER. Exit 77: the set, which is not ours to publish, is in neither $CLOISTER_TESTDATA
nor ../shared/testdata beside this repository.
"""
import json
import os
import pathlib
import subprocess
import sys

source = pathlib.Path(__file__).resolve().parents[2]
binary = os.path.abspath(sys.argv[1])
root = pathlib.Path(os.environ.get("CLOISTER_TESTDATA", source.parent / "shared/testdata")) / "attestation"
counts = {}
if not root.is_dir():
    print(f"skipped: {root} is absent: it is of a set of evidence that is no part of this repository ($CLOISTER_TESTDATA)")
    sys.exit(77)


def run(folder, arguments, expected):
    time = expected.get("verification_time") or "2025-06-11T10:14:21Z"
    done = subprocess.run([binary, "attestation", "verify", *arguments, "--time", time, "--json"],
                          capture_output=True, text=True)
    status = json.loads(done.stdout)["status"]
    want = expected["expect"]
    good = done.returncode == (4 if want == "reject" else 0)
    if not good or (status == "reject") != (want == "reject") or want not in ("policy", status):
        sys.exit(f"FAILED: {folder}: wanted {want}, got {done.returncode} {done.stdout}")
    counts[folder.parent.name] = counts.get(folder.parent.name, 0) + 1

for folder in sorted((root / "snp").iterdir()):
    if (folder / "expected.json").exists():
        run(folder, ["--snp-report", folder / "report.bin", "--leaf", folder / "leaf.der",
                     "--chain", folder / "cert_chain.pem"], json.loads((folder / "expected.json").read_text()))
for folder in sorted((root / "bundles").iterdir())[::4]:
    expected = json.loads((folder / "expected.json").read_text())
    arguments = ["--quote", folder / "quote.bin", "--collateral", folder / "collateral.json"]
    if expected.get("root"):
        arguments += ["--root", folder / expected["root"]]
    if expected.get("crl_missing"):
        arguments += ["--accept-missing-crls"]
    run(folder, arguments, expected)
    for name in ("quote.bin", "collateral.json"):
        if subprocess.run([binary, "attestation", "inspect", folder / name], capture_output=True).returncode not in (0, 2):
            sys.exit(f"FAILED: inspect {folder / name}")
if set(counts) != {"snp", "bundles"}:
    sys.exit(f"FAILED: of the two kinds there ran {counts}")
print(counts)

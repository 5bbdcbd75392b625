#!/usr/bin/env bash
# `cloister attestation` and `collateral` as a user meets them, with evidence of our own making
# (outside_vectors_test.py: of others'). Usage: attestation_test.sh CLOISTER_BINARY MAKE_EVIDENCE_BINARY
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../support/expect.sh"
cloister=$(realpath "${1:?usage: attestation_test.sh CLOISTER_BINARY MAKE_EVIDENCE_BINARY}")
make_evidence=$(realpath "${2:?usage: attestation_test.sh CLOISTER_BINARY MAKE_EVIDENCE_BINARY}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

verify() { "$cloister" attestation verify "$@"; }
inspect() { "$cloister" attestation inspect "$@"; }
collateral() { "$cloister" collateral "$@"; }

"$make_evidence" own
at=(--time 2026-09-21T14:13:20Z)
root=(--root own/sgx-root.pem)
quote=(--quote own/quote3-sgx.bin --collateral own/collateral.json "${at[@]}")
snp=(--snp-report own/snp-report3.bin --leaf own/snp-leaf.der --chain own/snp-chain.pem "${at[@]}")

# A quote: verified under its root, refused under Intel's, at another time, for another report data.
expect 0 '"status": "UpToDate"' verify "${quote[@]}" "${root[@]}" --json
expect 0 '"own_root": true' verify "${quote[@]}" "${root[@]}" --json
expect 0 'mrenclave              aa00' verify "${quote[@]}" "${root[@]}"
expect 4 'root is not trusted' verify "${quote[@]}" --json
expect 4 'expired' verify --quote own/quote3-sgx.bin --collateral own/collateral.json --time 2026-12-01T00:00:00Z "${root[@]}"
zero=$(printf '%0128d' 0)
expect 4 'report data' verify "${quote[@]}" "${root[@]}" --report-data "$zero"
expect 0 'UpToDate' verify "${quote[@]}" "${root[@]}" --report-data "da${zero:2}"
expect 4 'evaluation number' verify "${quote[@]}" "${root[@]}" --minimum-evaluation-number 18
expect 4 'signature' verify --quote own/quote5-sgx.bin --collateral own/collateral.json "${at[@]}" "${root[@]}"

# Missing lists fail closed and can be accepted only by saying so.
sed -E 's/"(root_ca_crl|pck_crl)":"[0-9a-f]*"/"\1":""/g' own/collateral.json >no-crl.json
without=(--quote own/quote3-sgx.bin --collateral no-crl.json "${at[@]}" "${root[@]}")
expect 4 'revocation: a list is missing' verify "${without[@]}"
expect 0 '"revocation_checked": false' verify "${without[@]}" --accept-missing-crls --json

# TDX quotes: both versions, a machine that was started on firmware that is old by now, and what is refused.
tdx=(--collateral own/tdx-collateral.json "${at[@]}" --root own/tdx-root.pem)
expect 0 '"status": "UpToDate"' verify --quote own/quote4-tdx.bin "${tdx[@]}" --json
expect 0 'mrtd                   1010' verify --quote own/quote4-tdx.bin "${tdx[@]}"
verify --quote own/quote4-tdx.bin "${tdx[@]}" --json >v4.json
python3 - <<'EOF' || fail 'fields of a TDX verdict'
import json
v = json.load(open("v4.json"))
assert v["tee"] == "TDX" and v["advisory_ids"] == [] and v["debug"] is False and "mr_service_td" not in v
assert v["rtmr3"] == "a3" * 48 and v["mr_seam"] == "5e" * 48 and v["mr_signer_seam"] == "00" * 48
assert v["td_attributes"] == "0000000010000000"  # as a session takes them
assert v["report_data"].startswith("da00") and v["tcb_date"] == "2024-03-13T00:00:00Z" and v["earliest_expiry"]
EOF
newer=(--collateral own/tdx-collateral-newer.json "${at[@]}" --root own/tdx-root.pem)
expect 0 '"OutOfDate"' verify --quote own/quote4-tdx.bin "${newer[@]}" --json
expect 0 '"TDRelaunchAdvised"' verify --quote own/quote5-tdx15.bin "${newer[@]}" --json
expect 0 '"mr_service_td": "0000' verify --quote own/quote5-tdx15.bin "${newer[@]}" --json
expect 4 'expired' verify --quote own/quote4-tdx.bin --collateral own/tdx-collateral.json --root own/tdx-root.pem --time 2026-12-01T00:00:00Z
expect 4 'root is not trusted' verify --quote own/quote4-tdx.bin --collateral own/tdx-collateral.json "${at[@]}"
expect 4 'reject' verify --quote own/quote4-tdx.bin --collateral own/collateral.json "${at[@]}" "${root[@]}"
expect 4 'evaluation number' verify --quote own/quote4-tdx.bin "${tdx[@]}" --minimum-evaluation-number 18

# An SNP report.
amd=(--root own/snp-root.pem)
expect 0 '"status": "ok"' verify "${snp[@]}" "${amd[@]}" --json
expect 0 'no revocation list was checked' verify "${snp[@]}" "${amd[@]}"
expect 0 '"revocation_checked": true' verify "${snp[@]}" "${amd[@]}" --crl own/snp-crl.der --json
expect 4 'the ASK is revoked' verify "${snp[@]}" "${amd[@]}" --crl own/snp-crl-revoked.der
expect 4 'root is not trusted' verify "${snp[@]}"
head -c 1000 own/snp-report3.bin >short.bin
expect 4 'reject' verify --snp-report short.bin --leaf own/snp-leaf.der --chain own/snp-chain.pem --json

# Unusable input.
expect 2 'either --quote or --snp-report' verify --json
expect 2 'either --quote or --snp-report' verify "${quote[@]}" --snp-report own/snp-report3.bin
expect 2 'needs --collateral' verify --quote own/quote3-sgx.bin
expect 2 'needs --leaf and --chain' verify --snp-report own/snp-report3.bin
expect 2 'absent' verify --quote absent --collateral own/collateral.json
expect 2 '--time yesterday is not a time' verify --quote own/quote3-sgx.bin --collateral own/collateral.json --time yesterday
expect 2 '--report-data: ' verify "${quote[@]}" --report-data 00
expect 2 'about --quote' verify "${snp[@]}" "${amd[@]}" --minimum-evaluation-number 0
expect 2 'about --quote' verify "${snp[@]}" "${amd[@]}" --accept-missing-crls
# What a script gives when its variable is unset: no check is left out because of it, in any command.
for option in --report-data --root --time --minimum-evaluation-number --crl; do
  expect 2 "$option is empty" verify "${quote[@]:0:4}" "$option" ''
done
for option in --report-data --root --time --crl --collateral; do
  expect 2 "$option is empty" verify "${snp[@]:0:6}" "$option" ''
done
expect 2 '--leaf is empty' verify "${snp[@]:0:2}" --leaf '' --chain own/snp-chain.pem
expect 2 '--minimum-evaluation-number is empty' collateral status --folder kept --minimum-evaluation-number ''
expect 2 '--cas-key is empty' "$cloister" execute --image i --sessionID s/s --url u --cas-key ''
expect 2 'FILE is empty' inspect ''
expect 2 '--report-data is empty' verify "${quote[@]}" "${root[@]}" --report-data= --json
expect 2 '--accept-missing-crls is empty' verify "${without[@]}" --accept-missing-crls=
# The time in every form of RFC 3339.
for time in 2026-09-21t14:13:20z 2026-09-21T16:13:20+02:00 2026-09-21T14:13:20.999+00:00 2026-09-21T09:43:20.5-04:30; do
  expect 0 UpToDate verify "${quote[@]:0:4}" "${root[@]}" --time "$time"
done
expect 4 'expired' verify "${quote[@]:0:4}" "${root[@]}" --time 2026-12-01T00:00:00+00:00

# Every structure is recognised and printed.
declare -A shown=(
  [quote3-sgx.bin]='"mrenclave": "aa00' [quote4-tdx.bin]='"body_type": "TD 1.0"' [quote5-sgx.bin]='"version": 5'
  [quote5-tdx15.bin]='"mr_service_td"' [collateral.json]='"qe_identity_issuer_chain"' [pck.der]='"fmspc"'
  [pck-extension.der]='"kind": "pck-extension"' [pck-chain.pem]='Intel SGX PCK Platform CA' [pck-crl.der]='"next_update"' [tcb-info.json]='"tcbLevels"'
  [qe-identity.json]='"isvprodid"' [snp-report2.bin]='"raw"' [snp-report5.bin]='"launch_mitigations"'
  [tdx-tcb-info.json]='"tdxModuleIdentities"' [tdx-qe-identity.json]='"TD_QE"' [tdx-collateral.json]='"TDX"'
  [snp-leaf.der]='"sev_extensions"' [snp-crl-revoked.der]='"revoked_count": 1')
for file in "${!shown[@]}"; do
  expect 0 "${shown[$file]}" inspect "own/$file" --json
  expect 0 'verified' inspect "own/$file"
done
expect 0 'body.mrenclave         aa00' inspect own/quote3-sgx.bin
expect 0 '"td_attributes": "0000000010000000"' inspect own/quote4-tdx.bin --json
# What a stranger wrote into a file does not command a terminal, and is still JSON where JSON was asked for.
sed -E 's/"tcbLevels":/"\\u001b[2J": "\\u001b]0;owned\\u0007 \\u009b31m", "tcbLevels":/' own/tcb-info.json >terminal.json
grep -q owned terminal.json || fail 'nothing was planted'
expect 0 '\x1b]0;owned\x07 \xc2\x9b31m' inspect terminal.json
[[ $out != *$'\e'* && $out != *$'\xc2\x9b'* ]] || fail 'a control character reached the terminal'
expect 0 'owned' inspect terminal.json --json
python3 -c 'import json, sys; assert json.loads(sys.argv[1])["fields"]["\x1b[2J"].startswith("\x1b]0;owned")' "$out" || fail 'not the JSON it was'
echo hello >hello.txt
expect 2 'not a known structure' inspect hello.txt
expect 2 'no kind of structure' inspect own/pck.der --as nonsense
expect 2 '' inspect own/pck.der --as quote
expect 2 'absent' inspect absent
[[ ${out#*absent} != *absent* ]] || fail "the path twice: $out"

# Collateral that is kept: import, status, export, and what is refused.
kept=(--folder kept "${root[@]}" "${at[@]}")
expect 0 '' collateral status "${kept[@]}"
expect 0 'sgx-tcb-' collateral import own/collateral.json "${kept[@]}"
expect 0 '"state": "valid"' collateral status "${kept[@]}" --json
expect 0 '' collateral export --quote own/quote3-sgx.bin "${kept[@]}" -o exported.json
expect 0 'UpToDate' verify --quote own/quote3-sgx.bin --collateral exported.json "${at[@]}" "${root[@]}"
expect 4 'expired' collateral status --folder kept "${root[@]}" --time 2026-12-01T00:00:00Z
expect 5 'no collateral service' collateral export --fmspc 00606a000000 "${kept[@]}"
expect 3 'not trusted' collateral import own/collateral.json --folder other "${at[@]}"
expect 2 'needs --quote or --fmspc' collateral export "${kept[@]}"
expect 2 'cannot open /none:' collateral import /none "${kept[@]}"
expect 2 'own/quote3-sgx.bin: ' collateral import own/quote3-sgx.bin "${kept[@]}"
expect 2 'cannot open /none:' collateral export --quote /none "${kept[@]}"
expect 2 'own/pck.der: ' collateral export --quote own/pck.der "${kept[@]}"
expect 2 'own/quote3-sgx.bin: ' collateral status --folder kept --root own/quote3-sgx.bin
expect 2 '--time yesterday' collateral status --folder kept --time yesterday
sed -i 's/"body": "7b22/"body": "7b23/' kept/sgx-tcb-*.json
expect 4 'the stored file is not used' collateral status "${kept[@]}"

# A simulated platform has no advisories that cannot be.
for id in foo INTEL-SA-615 INTEL-SA-00615x intel-sa-00615 'INTEL-SA-00615"'; do
  expect 2 "--advisory $id is no advisory" timeout 20 "$cloister" las serve --state las --listen 127.0.0.1:0 --advisory "$id"
done

echo 'all checks of attestation passed'

#!/usr/bin/env bash
# What `cloister attestation verify` says about an SNP report with and without a revocation list.
# Usage: attestation_crl_test.sh CLOISTER_BINARY MAKE_EVIDENCE_BINARY
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../../tests/support/expect.sh"
cloister=$(realpath "${1:?usage: attestation_crl_test.sh CLOISTER_BINARY MAKE_EVIDENCE_BINARY}")
make_evidence=$(realpath "${2:?usage: attestation_crl_test.sh CLOISTER_BINARY MAKE_EVIDENCE_BINARY}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"$make_evidence" own
verify=("$cloister" attestation verify --time 2026-09-21T14:13:20Z --json)
snp=(--snp-report own/snp-report3.bin --leaf own/snp-leaf.der --chain own/snp-chain.pem --root own/snp-root.pem)
expect 0 '"crl": "not given"' "${verify[@]}" "${snp[@]}"
expect 0 '"crl": "checked"' "${verify[@]}" "${snp[@]}" --crl own/snp-crl.der
quote=(--quote own/quote3-sgx.bin --collateral own/collateral.json --root own/sgx-root.pem)
if "${verify[@]}" "${quote[@]}" | grep '"crl"'; then fail 'a quote has no list of its own'; fi
expect 0 'not given' "$cloister" attestation verify --help

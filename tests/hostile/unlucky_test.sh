#!/usr/bin/env bash
# An honest host at its unluckiest moments (unlucky_host.cpp): no program notices. What is gone for good ends the enclave
# soon, with its reason. Usage: unlucky_test.sh CLOISTER_BINARY UNLUCKY_HOST_BINARY
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../support/expect.sh"
cloister=$(realpath "${1:?usage: unlucky_test.sh CLOISTER_BINARY UNLUCKY_HOST_BINARY}")
host=$(realpath "${2:?}")
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export CLOISTER_CONFIG=$work/config CLOISTER_SIM_STATE=$work/sim CLOISTER_LOG=error
gcc -O1 -static "$here/memory_guest.c" -o guest
gcc -O1 -static "$here/early_signal.c" -o early
"$cloister" build --program ./guest --heap 16M --threads 2 -o memory >/dev/null
"$cloister" build --program ./early --heap 16M --threads 4 -o early.enclave >/dev/null

for kind in late absent; do
  for run in 1 2 3; do
    code=0
    out=$(timeout 60 "$host" $kind memory 2>&1) || code=$?
    [ "$code $out" = '0 done' ] || fail "$kind, run $run: exit code $code: $out"
  done
done

gone() {  # KIND REASON
  local code=0 out
  out=$(timeout 20 "$host" "$1" memory 2>&1) || code=$?
  [ "$code" = 70 ] || fail "$1: exit code $code: $out"
  [[ $out == *"$2"* ]] || fail "$1: no reason: $out"
}
gone heap 'kernel fault: vector 14, address e4'
gone stack 'faulted in its exception entry'
gone text 'left its exception entry'
# The kernel faults in what serves its faults, each time one frame deeper.
gone undefined 'its kernel faults in what serves its faults'
gone protected 'its kernel faults in what serves its faults'

for run in 1 2 3; do
  code=0
  out=$(timeout 60 "$host" early early.enclave 2>&1) || code=$?
  [ "$code $out" = '0 signal' ] || fail "early, run $run: exit code $code: $out"
done
echo 'unlucky, and nothing noticed'

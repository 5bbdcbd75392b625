#!/usr/bin/env bash
# A host that lies about pages, at the first call, the second, and so on until the program needs no more: every lie ends
# the enclave, with its reason, before the program's end. The same through the instructions as they were measured.
# Usage: memory_test.sh CLOISTER_BINARY MEMORY_HOST_BINARY
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../support/expect.sh"
cloister=$(realpath "${1:?usage: memory_test.sh CLOISTER_BINARY MEMORY_HOST_BINARY}")
memory_host=$(realpath "${2:?}")
guest=$(dirname "$(realpath "$0")")/memory_guest.c
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export CLOISTER_CONFIG=$work/config CLOISTER_SIM_STATE=$work/sim CLOISTER_LOG=error
gcc -O1 -static "$guest" -o guest
"$cloister" build --program ./guest --heap 16M --threads 2 -o image >/dev/null

[ "$("$memory_host" none 0 image)" = 'done' ] || fail 'the program does not run on an honest host'
[ "$(MEMORY_HOST_EXACT=1 "$memory_host" none 0 image)" = 'done' ] ||
  fail 'the program does not run on the code as it was measured'

refused=0
lie_until_the_end() {  # LIE [exact]
  local n out code before=$refused
  for ((n = 1; n < 200; ++n)); do
    code=0
    out=$("$memory_host" "$1" "$n" image 2>&1) || code=$?
    [ "$code" = 96 ] && break
    # Where nothing was writable before, asking for too much changes nothing.
    [ "$1 $code $out" = 'protect-more 0 done' ] && continue
    [ "$code" = 3 ] || fail "$1 at call $n: exit code $code: $out"
    [[ $out == *'the host'*'page'* ]] || fail "$1 at call $n: no reason: $out"
    [[ $out != *'done'* ]] || fail "$1 at call $n: the program went on"
    refused=$((refused + 1))
    [ "${2-}" = exact ] && [ "$n" -ge 3 ] && return
  done
  [ "$n" -gt 3 ] || fail "$1: the program made only $((n - 1)) such calls"
  [ "$refused" -gt "$before" ] || fail "$1: nothing was refused"
}
lies='commit-nothing commit-short protect-nothing protect-less protect-more release-nothing release-short'
for lie in $lies; do lie_until_the_end "$lie"; done
export MEMORY_HOST_EXACT=1
for lie in $lies; do lie_until_the_end "$lie" exact; done
echo "$refused lies refused"

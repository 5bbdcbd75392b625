#!/usr/bin/env bash
# A sealed volume has one writer, also when a clean-up takes the lock files away. Usage: sealed_lock_test.sh CLOISTER
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../support/expect.sh"
cloister=$(realpath "${1:?usage: sealed_lock_test.sh CLOISTER}")
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -9 "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
export CLOISTER_CONFIG=$work/config CLOISTER_SIM_STATE=$work/sim CLOISTER_LOG=error

"$cloister" build --program "$(type -P sh)" --program "$(type -P sleep)" --program "$(type -P sync)" \
  --standalone '-c @@1' --sealed-volume /data -o image >/dev/null
sealed=(--sealed sealed --sealed-anchor anchor image)
"$cloister" run "${sealed[@]}" 'echo 1 >/data/file; sync /data/file; echo ready; exec sleep 300' >said 2>&1 </dev/null &
server=$!
started() { grep -q ready said || ! kill -0 "$server" 2>/dev/null; }
wait_until started
grep -q ready said || fail "the first program ended: $(cat said)"
rm sealed/volume.lock anchor/volume.lock
out=$(timeout 60 "$cloister" run "${sealed[@]}" 'echo second writer' 2>&1 </dev/null) && fail "a second writer runs: $out"
[[ $out == *'open for writing by another process'* ]] || fail "not refused for that: $out"
kill -9 "$server"
wait "$server" 2>/dev/null || true
server=
expect 0 '1' "$cloister" run "${sealed[@]}" 'read -r line </data/file; echo "$line"'
echo 'one writer of a sealed volume'

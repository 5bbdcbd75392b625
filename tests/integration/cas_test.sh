#!/usr/bin/env bash
# The service and the owner's commands as people meet them: start, pin, create, read, restart, refusals.
# Usage: cas_test.sh CLOISTER_BINARY
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../support/expect.sh"
cloister=$(realpath "${1:?usage: cas_test.sh CLOISTER_BINARY}")
work=$(mktemp -d)
server=
stop() {
  [ -z "$server" ] || { kill -TERM "$server" 2>/dev/null || true; wait "$server" || true; }
  server=
}
trap 'stop; rm -rf "$work"' EXIT
cd "$work"
export CLOISTER_CONFIG=$work/config

start() {
  rm -f serve.out
  "$cloister" cas serve --state CAS --listen-api "${1:-127.0.0.1:0}" --listen-enclave 127.0.0.1:0 >serve.out 2>serve.err &
  server=$!
  for _ in $(seq 1 200); do
    grep -q 'enclave API: ' serve.out && break
    kill -0 "$server" 2>/dev/null || fail "serve ended: $(cat serve.err)"
    sleep 0.05
  done
  key=$(sed -n 's/^CAS key hash: //p' serve.out)
  api=$(sed -n 's#^client API: https://##p' serve.out)
  [[ $key =~ ^[0-9a-f]{64}$ ]] || fail "serve printed: $(cat serve.out)"
}

cat >template.yml <<'END'
name: $SESSION
version: "0.3"
predecessor: $BEFORE
services:
  - name: app
    image_name: image
    mrenclaves: [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]
    command: app
volumes: [{name: out}]
images: [{name: image, volumes: [{name: out, path: /out}]}]
END

# A core file would hold the database key.
ulimit -c unlimited 2>/dev/null || ulimit -c "$(ulimit -H -c)"
start
grep -Eq '^Max core file size +0 +0 ' "/proc/$server/limits" || fail 'serve may leave a core file'
first_key=$key
expect 4 'is not trusted' "$cloister" session create template.yml -e SESSION=s -e 'BEFORE=~' --cas "$api"
expect 0 "$key" "$cloister" cas show "$api"
expect 4 'is not trusted' "$cloister" session read s --cas "$api"
# What proves nothing is refused, also before any key is pinned; what was typed wrongly is usage.
zeros=$(printf '%064d' 0)
expect 4 'does not run inside an enclave' "$cloister" cas attest "$api" --mrenclave "$zeros"
expect 2 'absent' "$cloister" cas attest "$api" --mrenclave "$zeros" --trust-simulation absent
expect 2 'collateral' "$cloister" cas attest "$api" --mrenclave "$zeros" --collateral template.yml
expect 5 'cannot reach' "$cloister" cas attest 127.0.0.1:1 --mrenclave "$zeros"
expect 2 '`nonsense` is no advisory' "$cloister" cas attest "$api" "$zeros" --ignore-advisory nonsense
expect 2 'no advisory' "$cloister" cas attest "$api" "$zeros" --ignore-advisory INTEL-SA-00334 --ignore-advisory '*'
expect 2 '64 hex digits' "$cloister" cas attest "$api" "${zeros}0"
expect 4 'does not run inside an enclave' "$cloister" cas attest "$api" "$zeros" --ignore-advisory INTEL-SA-00334
enclave=$(sed -n 's/^enclave API: //p' serve.out)
expect 5 'the client API is on port 8081 unless --listen-api says otherwise' "$cloister" cas attest "$enclave" "$zeros"
expect 2 '64 hex digits' "$cloister" cas trust "$api" --key abc
expect 0 'is trusted with key' "$cloister" cas trust "$api" --key "$key"
expect 2 'Value for variable $SESSION is missing at line 1 column 7' "$cloister" session create template.yml --cas "$api"
first=$("$cloister" session create template.yml -e SESSION=s -e 'BEFORE=~' --cas "$api")
[[ $first =~ ^[0-9a-f]{64}$ ]] || fail "create printed '$first'"
[ "$("$cloister" session hash template.yml -e SESSION=s -e 'BEFORE=~')" = "$first" ] || fail 'hash differs from create'
expect 2 'Session already exists, please specify predecessor hash' \
  "$cloister" session create template.yml -e SESSION=s -e 'BEFORE=~' --cas "$api"
second=$("$cloister" session create template.yml -e SESSION=s -e BEFORE="$first" --cas "$api")
expect 1 'Invalid previous session digest' "$cloister" session create template.yml -e SESSION=s -e BEFORE="$first" --cas "$api"
expect 0 'name: "s"' "$cloister" session read s --cas "$api"
expect 1 'Session not found' "$cloister" session read s --cas "$api" --conf other-owner
expect 0 'out - 0' "$cloister" session volumes s --cas "$api"
expect 0 "replaces $first" "$cloister" session events s --cas "$api"
expect 0 'valid, session s' "$cloister" session check template.yml -e SESSION=s -e 'BEFORE=~'
expect 0 'name: "s"' env SESSION=s BEFORE=x "$cloister" session substitute template.yml -e SESSION -e BEFORE
expect 2 'the environment has no BEFORE' env SESSION=s "$cloister" session substitute template.yml -e SESSION -e BEFORE
expect 0 'name: "s"' env SESSION=s BEFORE=x "$cloister" session substitute template.yml --use-env
expect 4 'used by another process' "$cloister" cas serve --state CAS --listen-api 127.0.0.1:0 --listen-enclave 127.0.0.1:0
mkdir one two
expect 2 'one folder, not in two' "$cloister" cas serve --state other --collateral one --collateral two --listen-api 127.0.0.1:0
expect 1 'absent' "$cloister" cas serve --state other --collateral absent --listen-api 127.0.0.1:0
expect 1 'absent' "$cloister" cas serve --state other --snp-crl absent --listen-api 127.0.0.1:0
expect 1 'template.yml' "$cloister" cas serve --state other --trust-snp-simulation template.yml --listen-api 127.0.0.1:0
[ -d CAS/collateral ] || fail 'no folder for collateral'
[ "$(stat -c %a CAS)" = 700 ] || fail 'the state folder can be read by others'

address=$api
stop
expect 5 'cannot reach' "$cloister" session read s --cas "$address"
start "$address"
[ "$key" = "$first_key" ] || fail 'a restart changed the key'
expect 0 'name: "s"' "$cloister" session read s --hash "$second" --cas "$api"
expect 0 '' "$cloister" cas trust "$api" --key "${key//[0-9a-f]/0}"
expect 4 'is not the expected server' "$cloister" session read s --cas "$api"
kill -TERM "$server"
wait "$server" || fail "serve ended with $?"
server=
echo 'cas: all passed'

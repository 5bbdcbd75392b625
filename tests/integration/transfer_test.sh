#!/usr/bin/env bash
# The transfer service and its clients as a user meets them. Usage: transfer_test.sh CLOISTER_BINARY
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../support/expect.sh"
cloister=$(realpath "${1:?usage: transfer_test.sh CLOISTER_BINARY}")
work=$(mktemp -d)
server=
stop() {
  [ -z "$server" ] && return 0
  kill -TERM "$server"
  local code=0
  wait "$server" || code=$?
  server=
  return "$code"
}
trap 'stop || true; rm -rf "$work"' EXIT
cd "$work"
export no_proxy='*'

start() {  # options of serve…; sets $url
  : >log
  "$cloister" transfer serve --root store --listen 127.0.0.1:0 "$@" >log 2>&1 &
  server=$!
  for _ in $(seq 1 200); do
    url=$(sed -n 's/^transfer service listening on //p' log)
    [ -n "$url" ] && return 0
    kill -0 "$server" 2>/dev/null || fail "the service ended: $(cat log)"
    sleep 0.05
  done
  fail "the service does not start: $(cat log)"
}

mkdir -p tree/sub
echo one >tree/a
head -c 3000000 /dev/urandom >tree/sub/b

start --max-size 10M
upload=$("$cloister" transfer push "$url" tree)
[[ $upload =~ ^http://127\.0\.0\.1:[0-9]+/[A-Za-z0-9_-]{22}/tree\.zip$ ]] || fail "push printed '$upload'"
"$cloister" transfer pull "$upload"$'\r' back --unpack
diff -r tree back || fail 'the folder came back different'
mkdir into
"$cloister" transfer pull "$upload" into
zip -qT into/tree.zip || fail 'not a zip'
curl -sf -H 'Accept: text/html' "$upload" | grep 'sub/b' >/dev/null || fail 'the page does not show the files'
curl -sf -H 'Accept: application/json' "$upload" | python3 -c '
import json, sys
entries = json.load(sys.stdin)["entries"]
assert [(e["name"], e["size"]) for e in entries] == [("a", 4), ("sub/", 0), ("sub/b", 3000000)], entries'
expect 2 'exists and is not empty' "$cloister" transfer pull "$upload" back --unpack
expect 1 'no such upload' "$cloister" transfer pull "$url/AAAAAAAAAAAAAAAAAAAAAA/x" x
head -c 11000000 /dev/zero >large
expect 2 'larger than 10485760 bytes' "$cloister" transfer push "$url" large
expect 4 'is in use by another' "$cloister" transfer serve --root store --listen 127.0.0.1:0

# Killed without notice in the middle of an upload, it still has what it had acknowledged, and nothing else.
curl -s --limit-rate 50K -T into/tree.zip "$url/half" >/dev/null &
upload_process=$!
for _ in $(seq 1 200); do
  [ -n "$(ls store/partial)" ] && break
  sleep 0.05
done
[ -n "$(ls store/partial)" ] || fail 'the upload does not begin'
kill -KILL "$server"
wait "$server" 2>/dev/null || true
server=
wait "$upload_process" || true
expect 5 'cannot reach 127.0.0.1' "$cloister" transfer pull "$upload" x
start
"$cloister" transfer pull "$url/${upload#http://*/}" again --unpack
[ -z "$(ls store/partial)" ] || fail 'half an upload is left'
[ "$(ls store/files | wc -l)" -eq 1 ] || fail 'half an upload was published'
diff -r tree again || fail 'after the crash it is different'
stop || fail 'it does not end cleanly on SIGTERM'

# Interrupted while it packs: no archive stays, neither beside the folder nor elsewhere.
start
mkdir -p place/huge tmp
truncate -s 20G place/huge/sparse
TMPDIR=$work/tmp "$cloister" transfer push "$url" place/huge >/dev/null 2>push.err </dev/null &
push=$!
for _ in $(seq 1 200); do
  [ -n "$(find place tmp -name '.cloister-*' -size +1M)" ] && break
  sleep 0.02
done
[ -n "$(find place tmp -name '.cloister-*' -size +1M)" ] || fail "it does not pack: $(cat push.err)"
kill -INT "$push"
code=0
wait "$push" || code=$?
[ "$code" -eq 130 ] || fail "interrupted: exit code $code: $(cat push.err)"
[ "$(ls -A place tmp)" = "$(printf 'place:\nhuge\n\ntmp:')" ] || fail "the archive was left: $(find place tmp)"
rm -r place
stop || fail 'it does not end cleanly on SIGTERM'

# TLS: only the pinned key, or a person's own word.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem -days 2 \
  -subj /CN=transfer 2>/dev/null
pin=$(openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum | cut -c1-64)
start --tls-cert cert.pem --tls-key key.pem
[[ $url == https://* ]] || fail "$url is not HTTPS"
upload=$("$cloister" transfer push "$url" tree/a --server-key "$pin")
"$cloister" transfer pull "$upload" a --server-key "$pin"
cmp a tree/a
curl -sfk "$upload" | cmp - a || fail 'curl does not speak TLS with it'
expect 4 "its key is $pin, expected" "$cloister" transfer pull "$upload" b --server-key "${pin:1}0"
expect 4 'not the expected server' "$cloister" transfer pull "$upload" b
"$cloister" transfer pull "$upload" c -k
stop || fail 'it does not end cleanly on SIGTERM'

# A shared folder is a remote, too.
mkdir share
upload=$("$cloister" transfer push "file://$work/share" tree --name volume)
"$cloister" transfer pull "$upload" shared --unpack
diff -r tree shared || fail 'the shared folder gives something else'

expect 1 'no remote of the kind s3://' "$cloister" transfer push s3://bucket tree
expect 2 '' "$cloister" transfer push
expect 2 'is not a number with a unit' "$cloister" transfer serve --root other --max-size 10X
expect 0 'Example:' "$cloister" transfer push --help
echo "transfer: ok"

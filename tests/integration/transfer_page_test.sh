#!/usr/bin/env bash
# The page of an upload in a real browser, over HTTP and over TLS. Without Chromium the test is skipped (77).
# Usage: transfer_page_test.sh CLOISTER_BINARY
set -euo pipefail
cloister=$(realpath "${1:?usage: transfer_page_test.sh CLOISTER_BINARY}")
browser=$(command -v chromium || command -v chromium-browser || true)
if [ -z "$browser" ]; then
  echo "skipped: no browser; this test looks at the service's page with Chromium, which ./dev setup does not install for its size."
  echo "With the package \`chromium\` it runs. What the page holds is also tested without a browser (server_test.cpp)."
  exit 77
fi
work=$(mktemp -d)
server=
stop() {
  [ -z "$server" ] || { kill -TERM "$server" && wait "$server"; } || true
  server=
}
trap 'stop; rm -rf "$work"' EXIT
cd "$work"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

mkdir -p tree/sub
echo one >tree/a
head -c 300000 /dev/urandom >'tree/sub/<b>&'
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem -days 2 \
  -subj /CN=localhost 2>/dev/null

show_and_check() {  # options of serve…
  "$cloister" transfer serve --root store --listen 127.0.0.1:0 "$@" >log 2>&1 &
  server=$!
  local url='' upload
  for _ in $(seq 1 200); do
    url=$(sed -n 's/^transfer service listening on //p' log)
    [ -n "$url" ] && break
    sleep 0.05
  done
  [ -n "$url" ] || fail "the service does not start: $(cat log)"
  upload=$("$cloister" transfer push -k "$url" tree)
  timeout 120 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-proxy-server \
    --ignore-certificate-errors --user-data-dir="$work/profile" --dump-dom "$upload" >dom 2>browser.log </dev/null ||
    fail "the browser failed: $(tail -3 browser.log)"
  # What the browser made of it: three entries with their sizes, no element out of a name.
  grep -q '<h1>tree.zip</h1>' dom || fail "no page: $(head -c 500 dom)"
  grep -q '<h2>3 entries</h2>' dom || fail 'not three entries'
  grep -qF 'sub/&lt;b&gt;&amp;</td><td class="n" title="300000 bytes">293.0 KiB</td>' dom || fail 'the file is not shown'
  stop
}
show_and_check
show_and_check --tls-cert cert.pem --tls-key key.pem
echo "transfer page: ok"

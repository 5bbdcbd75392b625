#!/usr/bin/env bash
# `openssl s_server` with clients of TLS 1.3 and 1.2 on the host; `openssl speed`.
# Usage: openssl_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/servers/support.sh
source "$(dirname "$(realpath "$0")")/support.sh"
needs openssl curl
make_certificate server
build --program "$(command -v openssl)":/usr/bin/openssl --copy server.pem:/cert.pem --copy server.key:/key.pem --heap 128M --threads 8 -o openssl.enclave
port=$(free_port)
start "$port" openssl.enclave s_server -accept "127.0.0.1:$port" -cert /cert.pem -key /key.pem -www -quiet
for _ in 1 2 3 4 5; do
  curl -sf --cacert server.pem -o page "https://127.0.0.1:$port/" || fail 'no answer from inside'
  grep -q TLSv1.3 page || fail 'not TLS 1.3'
done
curl -sf --cacert server.pem --tls-max 1.2 -o page "https://127.0.0.1:$port/" || fail 'no answer from inside by TLS 1.2'
grep -q TLSv1.2 page || fail 'not TLS 1.2'
ends_with 143


# What is read is the number of bytes a second, for one process and for two that it forks.
speed() { inside openssl.enclave speed -mr -seconds 1 -bytes 1024 "$@" >speed.log 2>&1 || fail "speed ends with $?"; }
speed -evp aes-256-gcm
awk -F: '/^\+F:.*:AES-256-GCM:/ && $NF > 1e6 {found = 1} END {exit !found}' speed.log || fail "speed: $(cat speed.log)"
speed -multi 2 -evp sha256
[ "$(grep -c '^Got: +F:.*sha256:.* from [01]$' speed.log)" -eq 2 ] || fail "speed -multi: $(cat speed.log)"
finish

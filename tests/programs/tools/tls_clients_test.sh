#!/usr/bin/env bash
# TLS clients inside, a server on the host: curl (dynamic, glibc), one of OpenSSL's archives (static, glibc), one of BearSSL
# (dynamic and static, musl). Each is refused by nobody but itself when the certificate is another's.
# Usage: tls_clients_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs curl openssl gcc musl-gcc $libraries/libssl.a $libraries/libbearssl.a /usr/include/bearssl.h
make_certificate server
make_certificate stranger
for one in server stranger; do openssl x509 -in $one.pem -outform DER -out $one.der; done
port=$(free_port)
openssl s_server -accept "127.0.0.1:$port" -cert server.pem -key server.key -www -quiet >/dev/null 2>&1 &
listens "$port" $!

certificates=(--copy server.pem:/app/server.pem --copy stranger.pem:/app/stranger.pem --copy server.der:/app/server.der
  --copy stranger.der:/app/stranger.der)
build --program "$(command -v curl)":/usr/bin/curl "${certificates[@]}" --heap 128M --threads 8 -o curl.enclave
both 0 curl.enclave curl -sf --cacert "$work/server.pem" "https://127.0.0.1:$port/" -o /dev/null -w '%{http_code} %{ssl_verify_result}\n'
both 60 curl.enclave curl -sf --cacert "$work/stranger.pem" "https://127.0.0.1:$port/"
inside curl.enclave -sf --cacert /app/server.pem "https://127.0.0.1:$port/" >page || fail 'curl: no answer'
grep -q TLSv1.3 page || fail 'curl: not TLS 1.3'

gcc -O1 -static "$here/tls_openssl.c" -o glibc-static -lssl -lcrypto 2>link.log || fail "$(cat link.log)"
cp -r /usr/include/bearssl headers
musl-gcc -O1 -Iheaders "$here/tls_bearssl.c" -o musl $libraries/libbearssl.a
musl-gcc -O1 -static -Iheaders "$here/tls_bearssl.c" -o musl-static $libraries/libbearssl.a
for kind in glibc-static musl musl-static; do
  build --program "./$kind:/client" "${certificates[@]}" --heap 64M -o $kind.enclave
  form=der protocol=TLSv1.2
  [ $kind = glibc-static ] && form=pem protocol=TLSv1.3
  both 0 $kind.enclave ./$kind "$port" "$work/server.$form" localhost
  grep -q $protocol inside.out || fail "$kind: not $protocol: $(cat inside.out)"
  both 1 $kind.enclave ./$kind "$port" "$work/stranger.$form" localhost
  both 1 $kind.enclave ./$kind "$port" "$work/server.$form" example.org
done
finish

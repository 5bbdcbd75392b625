#!/usr/bin/env bash
# nginx under wrk, kept-alive and one connection a request: as one process, and with a master and two workers.
# Usage: nginx_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/servers/support.sh
source "$(dirname "$(realpath "$0")")/support.sh"
needs nginx wrk curl
mkdir -p site conf
head -c 10240 /dev/urandom >site/page
port=$(free_port)
cat >nginx.conf <<CONF
daemon off; WORKERS error_log stderr; pid /tmp/nginx.pid;
events { worker_connections 256; }
http { access_log off; client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e;
  server { listen 127.0.0.1:$port; root /site; } }
CONF
printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >conf/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' >conf/group
sed '1s/WORKERS/master_process off;/' nginx.conf >conf/single.conf
sed '1s/WORKERS/worker_processes 2;/' nginx.conf >conf/workers.conf
build --program "$(command -v nginx)":/usr/sbin/nginx --copy site:/site --copy conf:/etc/nginx \
  --copy conf/passwd:/etc/passwd --copy conf/group:/etc/group --heap 128M --threads 8 -o nginx.enclave
# wrk's line "N requests in …": how many; it says "Non-2xx" and "Socket errors" only when there were any.
under_wrk() {
  wrk -t2 -c32 -d2s "$@" "http://127.0.0.1:$port/page" >wrk.log || fail "wrk ends with $?"
  if grep -E 'Non-2xx|Socket errors' wrk.log; then fail 'wrk met errors'; fi
  [ "$(awk '/ requests in / {print $1}' wrk.log)" -ge 500 ] || fail "too few requests: $(cat wrk.log)"
}
for mode in single workers; do
  start "$port" nginx.enclave -c /etc/nginx/$mode.conf -e stderr -p /tmp
  under_wrk
  under_wrk -H 'Connection: close'
  for i in 0 1 2 3; do
    curl -sS -f "http://127.0.0.1:$port/page" | cmp -s - site/page || fail "$mode: other content"
  done
  [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/none")" = 404 ] || fail "$mode: no 404"
  ends_with 0
done
finish

#!/usr/bin/env bash
# `python3 -m http.server` answers 1000 requests, four at a time. Usage: python_http_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/servers/support.sh
source "$(dirname "$(realpath "$0")")/support.sh"
needs /usr/bin/python3 curl
version=$(/usr/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
mkdir site
seq 1 3000 >site/numbers.txt
build --program "$(realpath /usr/bin/python3):/usr/bin/python3" --copy "/usr/lib/$version:/usr/lib/$version" --copy site:/site \
  --heap 256M --threads 24 -o http.enclave
port=$(free_port)
start "$port" http.enclave -u -m http.server --bind 127.0.0.1 --directory /site "$port"
for i in $(seq 1000); do echo "url = http://127.0.0.1:$port/numbers.txt"; echo "output = got.$((i % 4))"; done >urls
curl -sS -f --no-progress-meter --parallel --parallel-max 4 -K urls || fail 'a request failed'
for i in 0 1 2 3; do cmp -s got.$i site/numbers.txt || fail 'other content'; done
[ "$(grep -c 'GET /numbers.txt HTTP/1.1" 200' server.log)" -eq 1000 ] || fail 'not 1000 answers'
[ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/none")" = 404 ] || fail 'no 404'
ends_with 143  # as outside: it has no handler of SIGTERM
finish

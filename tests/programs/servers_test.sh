#!/usr/bin/env bash
# Servers inside an enclave under real clients on the host. What is not installed is skipped by name.
# Usage: servers_test.sh CLOISTER_BINARY patched|trapped [SERVER…]
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/support.sh"
server=
stop() {
  [ -z "$server" ] && return 0
  kill -TERM "$server" 2>/dev/null || true
  for _ in $(seq 50); do kill -0 "$server" 2>/dev/null || break; sleep 0.1; done
  kill -KILL "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  server=
}
trap 'stop; rm -rf "$work"' EXIT
fail() {
  echo "FAILED: $*: $(tail -5 server.log 2>/dev/null)" >&2
  failures=$((failures + 1))
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
start() {  # port, image, words…
  local port=$1
  shift
  "$cloister" run "${options[@]}" "$@" >server.log 2>&1 </dev/null &
  server=$!
  for _ in $(seq 300); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  fail "does not listen: $*"
  return 1
}
# The server must end by SIGTERM with this exit code.
ends_with() {
  local code=0
  kill -TERM "$server"
  wait "$server" || code=$?
  server=
  [ "$code" -eq "$1" ] || fail "exit code $code in place of $1 after SIGTERM"
}

if has http /usr/bin/python3 curl; then
  version=$(/usr/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  mkdir -p site
  seq 1 3000 >site/numbers.txt
  build --program "$(realpath /usr/bin/python3):/usr/bin/python3" --copy "/usr/lib/$version:/usr/lib/$version" --copy site:/site \
    --heap 256M --threads 24 -o http.enclave
  port=$(free_port)
  if start "$port" http.enclave -u -m http.server --bind 127.0.0.1 --directory /site "$port"; then
    for i in $(seq 200); do echo "url = http://127.0.0.1:$port/numbers.txt"; echo "output = got.$((i % 4))"; done >urls
    curl -sS -f --no-progress-meter --parallel --parallel-max 4 -K urls || fail 'http: a request failed'
    cmp -s got.1 site/numbers.txt || fail 'http: other content'
    [ "$(grep -c 'GET /numbers.txt HTTP/1.1" 200' server.log)" -eq 200 ] || fail 'http: not 200 answers'
  fi
  stop
fi

if has redis redis-server redis-benchmark redis-cli; then
  build --program "$(command -v redis-server)":/redis-server --heap 512M --threads 16 -o redis.enclave
  port=$(free_port)
  if start "$port" redis.enclave --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir /tmp; then
    [ "$(redis-cli -p "$port" set key value)" = OK ] || fail 'redis: set'
    [ "$(redis-cli -p "$port" get key)" = value ] || fail 'redis: get'
    [ "$(redis-cli -p "$port" eval 'return redis.call("incr", KEYS[1]) + 41' 1 n)" = 42 ] || fail 'redis: lua'
    redis-benchmark -p "$port" -n 3000 -c 20 -q -t set,get,incr,lpush,mset >bench.log 2>&1 || fail 'redis: benchmark'
    redis-benchmark -p "$port" -n 20000 -c 20 -P 16 -q -t set,get >>bench.log 2>&1 || fail 'redis: pipelined benchmark'
    [ "$(redis-cli -p "$port" dbsize)" -ge 4 ] || fail 'redis: keys are missing'
    # A forked process writes the keys as they were, while the server goes on.
    redis-cli -p "$port" bgsave >bench.log
    [ "$(redis-cli -p "$port" set after bgsave)" = OK ] || fail 'redis: set during bgsave'
    for _ in $(seq 100); do redis-cli -p "$port" info persistence | grep -q 'rdb_bgsave_in_progress:0' && break; sleep 0.1; done
    redis-cli -p "$port" info persistence >bench.log
    grep -q 'rdb_last_bgsave_status:ok' bench.log && grep -q 'rdb_saves:1' bench.log || fail "redis: bgsave: $(cat bench.log)"
    ends_with 0
  fi
  stop
fi

if has memcached memcached /usr/bin/python3; then
  build --program "$(command -v memcached)":/memcached --heap 256M --threads 16 -o memcached.enclave
  port=$(free_port)
  if start "$port" memcached.enclave -u root -l 127.0.0.1 -p "$port" -t 4; then
    [ "$(/usr/bin/python3 - "$port" <<'SOURCE'
import socket, sys, threading
def work(n):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1]))); f = s.makefile("rwb")
    for i in range(200):
        f.write(b"set k%d-%d 0 0 5\r\nvalue\r\nget k%d-%d\r\n" % (n, i, n, i)); f.flush()
        assert f.readline() == b"STORED\r\n"; assert f.readline().startswith(b"VALUE"); assert f.readline() == b"value\r\n"; assert f.readline() == b"END\r\n"
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
s = socket.create_connection(("127.0.0.1", int(sys.argv[1]))); f = s.makefile("rwb"); f.write(b"stats\r\n"); f.flush()
print(next(l.split()[2].decode() for l in iter(f.readline, b"END\r\n") if b" curr_items " in l))
SOURCE
)" = 1600 ] || fail 'memcached: items are missing'
  fi
  stop
fi

if has nginx nginx curl; then
  mkdir -p nginx-root nginx-conf
  head -c 10240 /dev/urandom >nginx-root/page
  port=$(free_port)
  cat >nginx.conf <<CONF
daemon off; WORKERS error_log stderr; pid /tmp/nginx.pid;
events { worker_connections 256; }
http { access_log off; client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e;
  server { listen 127.0.0.1:$port; root /site; } }
CONF
  printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >nginx-conf/passwd
  printf 'root:x:0:\nnogroup:x:65534:\n' >nginx-conf/group
  sed '1s/WORKERS/master_process off;/' nginx.conf >nginx-conf/single.conf
  sed '1s/WORKERS/worker_processes 2;/' nginx.conf >nginx-conf/workers.conf
  build --program "$(command -v nginx)":/usr/sbin/nginx --copy nginx-root:/site --copy nginx-conf:/etc/nginx \
    --copy nginx-conf/passwd:/etc/passwd --copy nginx-conf/group:/etc/group --heap 128M --threads 8 -o nginx.enclave
  for mode in single workers; do
    if start "$port" nginx.enclave -c /etc/nginx/$mode.conf -e stderr -p /tmp; then
      for i in $(seq 200); do echo "url = http://127.0.0.1:$port/page"; echo "output = page.$((i % 4))"; done >urls
      curl -sS -f --no-progress-meter --parallel --parallel-max 8 -K urls || fail 'nginx: a request failed'
      cmp -s page.2 nginx-root/page || fail 'nginx: other content'
      [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/none")" = 404 ] || fail 'nginx: no 404'
      ends_with 0
    fi
    stop
  done
fi

if has tls openssl curl; then
  openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \
    -addext subjectAltName=IP:127.0.0.1 2>/dev/null
  build --program "$(command -v openssl)":/usr/bin/openssl --copy cert.pem:/cert.pem --copy key.pem:/key.pem --heap 128M --threads 8 -o openssl.enclave
  port=$(free_port)
  if start "$port" openssl.enclave s_server -accept "127.0.0.1:$port" -cert /cert.pem -key /key.pem -www -quiet; then
    for _ in 1 2 3 4 5; do
      curl -sf --cacert cert.pem -o page "https://127.0.0.1:$port/" || fail 'tls: no answer from inside'
      grep -q 'TLSv1.3' page || fail 'tls: not TLS 1.3'
    done
  fi
  stop
  "$cloister" run "${options[@]}" openssl.enclave speed -seconds 1 -evp aes-256-gcm >speed.log 2>&1 || fail "openssl speed"
  # The other way round: a client inside, a server on the host.
  build --program "$(command -v curl)":/usr/bin/curl --copy cert.pem:/cert.pem --heap 128M --threads 8 -o curl.enclave
  openssl s_server -accept "127.0.0.1:$port" -cert cert.pem -key key.pem -www -quiet >/dev/null 2>&1 &
  server=$!
  sleep 1
  "$cloister" run "${options[@]}" curl.enclave -sf --cacert /cert.pem "https://127.0.0.1:$port/" >page || fail 'curl inside'
  grep -q TLSv1.3 page || fail 'curl inside: not TLS 1.3'
  if "$cloister" run "${options[@]}" curl.enclave -sf "https://127.0.0.1:$port/" >/dev/null; then fail 'curl accepts an unknown certificate'; fi
  stop
fi

finish servers: "${ran[*]}" as expected

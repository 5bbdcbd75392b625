#!/usr/bin/env bash
# Programs inside an enclave against the same programs outside, in one run: interpreters, servers under load, shells.
# Usage: tools/bench_runtime.sh BIN_DIR [ROUNDS]. What is not installed is left out and said.
set -euo pipefail
bin=$(cd "${1:?usage: tools/bench_runtime.sh BIN_DIR [ROUNDS]}" && pwd)
rounds=${2:-3}
work=$(mktemp -d)
server=
stop() {
  [ -z "$server" ] && return 0
  kill -TERM "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  server=
}
trap 'stop; rm -rf "$work"' EXIT
trap 'exit 130' INT
export PATH=$bin:$PATH CLOISTER_LOG=error CLOISTER_CONFIG=$work/config CLOISTER_SIM_STATE=$work/sim LC_ALL=C.UTF-8
cd "$work"

# To be assigned to a variable before it is used: only then a run that fails ends the script.
median_of() { sort -g | awk '{v[NR] = $1} END {printf "%.4g", v[int((NR + 1) / 2)]}'; }
milliseconds() {  # median of ROUNDS runs of a command
  local begin i
  for i in $(seq "$rounds"); do
    begin=$(date +%s%N)
    "$@" >out 2>err </dev/null || { echo "failed: $* => $(cat err)" >&2; exit 1; }
    echo $((($(date +%s%N) - begin) / 1000000))
  done | median_of
}
# Time: less is better. Rate: more is better. The last column is always "how much of native speed".
time_row() { printf '| %s | %s ms | %s ms | %s |\n' "$1" "$native" "$inside" "$(awk "BEGIN {printf \"%.2f\", $native / $inside}")"; }
rate_row() { printf '| %s | %s /s | %s /s | %s |\n' "$1" "$native" "$inside" "$(awk "BEGIN {printf \"%.2f\", $inside / $native}")"; }
has() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null && continue
    echo "left out: $program is not installed" >&2
    return 1
  done
}
timed() {  # row, image, words behind the program, native command…
  local row=$1 image=$2 count=$3
  shift 3
  native=$(milliseconds "$@")
  inside=$(milliseconds cloister run "$image" "${@:$((1 + count))}")
  time_row "$row"
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
serve() {  # a server's command; waits until it listens on $port
  "$@" >server.log 2>&1 </dev/null &
  server=$!
  for _ in $(seq 300); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  echo "does not listen: $* => $(cat server.log)" >&2
  exit 1
}

echo '| row | native | inside | of native speed |'
echo '|---|---|---|---|'
cat >hello.c <<'SOURCE'
#include <stdio.h>
int main(void) { return puts("hello") < 0; }
SOURCE
gcc -O2 -static hello.c -o hello
cloister build --program ./hello --heap 64M -o hello.enclave >/dev/null
timed 'start of a static hello, 64 MiB heap' hello.enclave 1 ./hello

cat >count.py <<'SOURCE'
import json, hashlib, re
words = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(30000)]
table = {w: i for i, w in enumerate(words)}
text = json.dumps(table)
print(len(json.loads(text)), len(re.findall(r"[0-9]{3}[a-f]", text)), sum(i * i % 7 for i in range(1500000)))
SOURCE
version=$(/usr/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
cloister build --program "$(realpath /usr/bin/python3):/usr/bin/python3" --copy "/usr/lib/$version:/usr/lib/$version" --copy count.py:"/count.py" \
  --heap 512M --threads 8 -o python.enclave >/dev/null
native=$(milliseconds /usr/bin/python3 count.py)
inside=$(milliseconds cloister run python.enclave /count.py)
time_row 'Python: JSON, hashes, regular expressions, a loop'

cat >loop.sh <<'SOURCE'
i=0
while [ $i -lt 200 ]; do x=$(echo $i | cat); i=$((i + 1)); done
SOURCE
cloister build --program "$(realpath /bin/dash):/usr/bin/dash" --program "$(command -v cat):/usr/bin/cat" --copy loop.sh:/loop.sh --heap 64M --threads 8 \
  -o shell.enclave >/dev/null
native=$(milliseconds dash loop.sh)
inside=$(milliseconds cloister run shell.enclave /loop.sh)
time_row 'dash: 200 times `$(echo $i | cat)`'

if has redis-server redis-benchmark; then
  cloister build --program "$(command -v redis-server)":/redis-server --heap 512M --threads 16 -o redis.enclave >/dev/null
  port=$(free_port)
  options=(--port "$port" --bind 127.0.0.1 --save '' --appendonly no)
  rates() {  # options of redis-benchmark: the medians of SET and GET
    for _ in $(seq "$rounds"); do redis-benchmark -p "$port" --csv -t set,get "$@" 2>/dev/null | tr -d '"'; done >rates.csv
    for kind in SET GET; do awk -F, -v kind=$kind '$1 == kind {print $2}' rates.csv | median_of; echo; done
  }
  serve redis-server "${options[@]}"
  mapfile -t native_plain < <(rates -n 50000 -c 20)
  mapfile -t native_piped < <(rates -n 400000 -c 20 -P 16)
  stop
  serve cloister run redis.enclave "${options[@]}"
  mapfile -t inside_plain < <(rates -n 50000 -c 20)
  mapfile -t inside_piped < <(rates -n 400000 -c 20 -P 16)
  stop
  for i in 0 1; do
    kind=$([ $i = 0 ] && echo SET || echo GET)
    native=${native_plain[i]} inside=${inside_plain[i]}
    rate_row "redis $kind, 20 clients"
    native=${native_piped[i]} inside=${inside_piped[i]}
    rate_row "redis $kind, 20 clients, 16 in a pipeline"
  done
fi

if has nginx wrk; then
  mkdir -p site conf
  head -c 10240 /dev/urandom >site/page
  port=$(free_port)
  conf() {  # root of the pages
    cat <<CONF
daemon off; master_process off; error_log stderr; pid $work/nginx.pid;
events { worker_connections 256; }
http { access_log off; client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e;
  server { listen 127.0.0.1:$port; root $1; } }
CONF
  }
  conf "$work/site" >native.conf
  conf /site | sed 's/pid [^;]*/pid \/tmp\/nginx.pid/' >conf/nginx.conf
  printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >conf/passwd
  printf 'root:x:0:\nnogroup:x:65534:\n' >conf/group
  cloister build --program "$(command -v nginx)":/usr/sbin/nginx --copy site:/site --copy conf/nginx.conf:/etc/nginx.conf \
    --copy conf/passwd:/etc/passwd --copy conf/group:/etc/group --heap 128M --threads 8 -o nginx.enclave >/dev/null
  load() {
    for _ in $(seq "$rounds"); do wrk -t 1 -c 20 -d 3 "http://127.0.0.1:$port/page" | awk '/Requests\/sec/ {print $2}'; done | median_of
  }
  serve nginx -c "$work/native.conf" -e stderr -p /tmp
  native=$(load)
  stop
  serve cloister run nginx.enclave -c /etc/nginx.conf -e stderr -p /tmp
  inside=$(load)
  stop
  rate_row 'nginx, a file of 10 KiB, 20 connections'
fi

if has sqlite3; then
  echo 'create table t(a integer primary key, b text); with recursive n(i) as (select 1 union all select i + 1 from n where i < 300000)
    insert into t select i, hex(i * 7919) from n; create index x on t(b); select count(*), sum(length(b)) from t where b > "35";' >work.sql
  cloister build --program "$(command -v sqlite3)":/usr/bin/sqlite3 --copy work.sql:/work.sql --heap 512M --threads 4 -o sqlite.enclave >/dev/null
  native=$(milliseconds sqlite3 :memory: '.read work.sql')
  inside=$(milliseconds cloister run sqlite.enclave :memory: '.read /work.sql')
  time_row 'SQLite: 300 000 rows and an index, in memory'
fi

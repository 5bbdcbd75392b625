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
fields() { awk -v row="$1" '$1 == row {print $2}' "$2" | median_of; }
# Time: less is better. Rate: more is better. The last column is always "how much of native speed".
time_row() {  # row [unit]
  printf '| %s | %s %s | %s %s | %s |\n' "$1" "$native" "${2:-ms}" "$inside" "${2:-ms}" "$(awk "BEGIN {printf \"%.2f\", $native / $inside}")"
}
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

cat >peak.c <<'SOURCE'
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
  (void)argc;
  struct rusage used;
  const pid_t pid = fork();
  if (pid == 0) return dup2(2, 1), execvp(argv[1], argv + 1), 127;
  int status = 1;
  if (pid < 0 || wait4(pid, &status, 0, &used) != pid || status != 0) return 1;
  return printf("%.1f\n", used.ru_maxrss / 1024.0) < 0;
}
SOURCE
gcc -O2 -static peak.c -o peak
peak() { ./peak "$@" 2>/dev/null; }  # MiB that a command had at most
native=$(peak ./hello)
inside=$(peak cloister run hello.enclave)
time_row 'memory of a static hello, 64 MiB heap' MiB

# Calls that the enclave serves, one that leaves it every time, and two threads that wake each other.
cat >calls.c <<'SOURCE'
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static char page[4096];
static int file, udp;
static atomic_int turn;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}
static void wait_for(int mine) {
  for (int seen; (seen = atomic_load(&turn)) != mine;) syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, seen, NULL);
}
static void pass(int to) {
  atomic_store(&turn, to);
  syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1);
}
static void *other(void *rounds) {
  for (long i = 0; i < (long)rounds; ++i) wait_for(1), pass(0);
  return NULL;
}
static void one_getppid(void) { getppid(); }
static void one_pread(void) { (void)!pread(file, page, sizeof page, 0); }
static void one_recv(void) { recv(udp, page, sizeof page, MSG_DONTWAIT); }
static void measure(const char *name, void (*call)(void), int times) {
  double best = 1e18;
  for (int k = 0; k < 5; ++k) {
    const double begin = now();
    for (int i = 0; i < times; ++i) call();
    const double each = (now() - begin) / times;
    if (each < best) best = each;
  }
  printf("%s %.0f\n", name, best);
}

int main(int argc, char **argv) {
  enum { kRounds = 20000 };
  (void)argc;
  file = open(argv[1], O_RDONLY);
  udp = socket(AF_INET, SOCK_DGRAM, 0);
  if (file < 0 || udp < 0) return 1;
  measure("getppid", one_getppid, 200000);
  measure("pread", one_pread, 100000);
  measure("recv", one_recv, 50000);
  pthread_t thread;
  if (pthread_create(&thread, NULL, other, (void *)(long)kRounds) != 0) return 1;
  const double begin = now();
  for (int i = 0; i < kRounds; ++i) pass(1), wait_for(0);
  printf("futex %.0f\n", (now() - begin) / kRounds);
  return pthread_join(thread, NULL);
}
SOURCE
gcc -O2 -pthread calls.c -o calls
head -c 4096 /dev/urandom >page.data
cloister build --program ./calls --copy page.data:/page.data --heap 64M --threads 4 -o calls.enclave >/dev/null
for _ in $(seq "$rounds"); do ./calls page.data >>calls.native && cloister run calls.enclave /page.data >>calls.inside; done
while read -r name row; do
  native=$(fields "$name" calls.native)
  inside=$(fields "$name" calls.inside)
  time_row "$row" ns
done <<'ROWS'
getppid `getppid`, which the enclave serves
pread `pread` of 4 KiB of a cached file
recv `recv` of an empty UDP socket, which leaves the enclave
futex two threads that wake each other, a round
ROWS

cat >count.py <<'SOURCE'
import json, hashlib, re
for n in range(12):
    words = [hashlib.sha256(str(i + n).encode()).hexdigest() for i in range(30000)]
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

if has node; then
  cat >count.js <<'SOURCE'
const table = new Map();
let sum = 0;
for (let n = 0; n < 40; ++n) {
  const words = Array.from({length: 50000}, (_, i) => (i * 2654435761 % 4294967296).toString(36) + n);
  for (const w of words) table.set(w, (table.get(w) || 0) + w.length);
  sum += JSON.parse(JSON.stringify(words)).sort().slice(0, 10).join('').length;
  const m = new Float64Array(200 * 200).map((_, i) => Math.sin(i + n)), r = new Float64Array(200 * 200);
  for (let i = 0; i < 200; ++i) for (let j = 0; j < 200; ++j) { let s = 0; for (let k = 0; k < 200; ++k) s += m[i * 200 + k] * m[k * 200 + j]; r[i * 200 + j] = s; }
  sum += r.reduce((a, b) => a + b, 0) % 1000;
}
console.log(table.size, sum.toFixed(6));
SOURCE
  cloister build --program "$(realpath "$(command -v node)")":/usr/bin/node --copy count.js:/count.js --heap 2G --threads 32 -o node.enclave >/dev/null
  native=$(milliseconds node count.js)
  inside=$(milliseconds cloister run node.enclave /count.js)
  time_row 'Node.js: strings, maps, JSON, matrices'
fi

if has java javac; then
  mkdir -p java
  cat >java/Count.java <<'SOURCE'
import java.util.*;
public class Count {
  public static void main(String[] args) {
    long sum = 0;
    for (int n = 0; n < 30; ++n) {
      Map<String, Integer> table = new HashMap<>();
      for (int i = 0; i < 100000; ++i) table.merge(Integer.toString(i * 48271 % 65537 + n, 36), 1, Integer::sum);
      List<String> words = new ArrayList<>(table.keySet());
      Collections.sort(words);
      double[][] m = new double[200][200];
      for (int i = 0; i < 200; ++i) for (int j = 0; j < 200; ++j) m[i][j] = Math.sin(i * 200 + j + n);
      double trace = 0;
      for (int i = 0; i < 200; ++i) for (int j = 0; j < 200; ++j) for (int k = 0; k < 200; ++k) trace += m[i][k] * m[k][j];
      sum += words.size() + (long) (trace % 1000);
    }
    System.out.println(sum);
  }
}
SOURCE
  javac -d java java/Count.java
  home=$(dirname "$(dirname "$(realpath "$(command -v java)")")")
  libraries=()
  for path in $(ldd "$home"/lib/server/libjvm.so "$home"/lib/lib{net,nio,zip}.so | grep -o '/lib/x86_64-linux-gnu/[^ ]*' | grep -v '/libc\.so' | sort -u); do
    libraries+=(--copy "$(realpath "$path"):/usr$path")
  done
  cloister build --program "$home/bin/java:$home/bin/java" "${libraries[@]}" --copy "$home:$home" --copy /etc/java-17-openjdk:/etc/java-17-openjdk \
    --copy java:/java --heap 2G --threads 64 -o java.enclave >/dev/null
  native=$(milliseconds java -Xmx400m -cp java Count)  # else by the machine's memory
  inside=$(milliseconds cloister run java.enclave -Xmx400m -cp /java Count)
  time_row 'Java: strings, maps, sorting, matrices'
fi

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

#!/usr/bin/env bash
# redis-server under redis-benchmark, plain and pipelined; its forked process that saves the keys.
# Usage: redis_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/servers/support.sh
source "$(dirname "$(realpath "$0")")/support.sh"
needs redis-server redis-benchmark redis-cli
build --program "$(command -v redis-server)":/redis-server --heap 512M --threads 16 -o redis.enclave
port=$(free_port)
start "$port" redis.enclave --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir /tmp
[ "$(redis-cli -p "$port" set key value)" = OK ] || fail 'set'
[ "$(redis-cli -p "$port" get key)" = value ] || fail 'get'
[ "$(redis-cli -p "$port" eval 'return redis.call("incr", KEYS[1]) + 41' 1 n)" = 42 ] || fail 'lua'
redis-benchmark -p "$port" -n 3000 -c 20 -q -t set,get,incr,lpush,mset >bench.log 2>&1 || fail 'benchmark'
redis-benchmark -p "$port" -n 20000 -c 20 -P 16 -q -t set,get >>bench.log 2>&1 || fail 'pipelined benchmark'
[ "$(redis-cli -p "$port" dbsize)" -ge 4 ] || fail 'keys are missing'
# A forked process writes the keys as they were, while the server goes on.
redis-cli -p "$port" bgsave >bench.log
[ "$(redis-cli -p "$port" set after bgsave)" = OK ] || fail 'set during bgsave'
for _ in $(seq 100); do redis-cli -p "$port" info persistence | grep -q 'rdb_bgsave_in_progress:0' && break; sleep 0.1; done
redis-cli -p "$port" info persistence >bench.log
grep -q 'rdb_last_bgsave_status:ok' bench.log && grep -q 'rdb_saves:1' bench.log || fail "bgsave: $(cat bench.log)"
ends_with 0
finish

#!/usr/bin/env bash
# memcached with four threads, and eight clients.
# Usage: memcached_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/servers/support.sh
source "$(dirname "$(realpath "$0")")/support.sh"
needs memcached /usr/bin/python3
build --program "$(command -v memcached)":/memcached --heap 256M --threads 16 -o memcached.enclave
port=$(free_port)
start "$port" memcached.enclave -u root -l 127.0.0.1 -p "$port" -t 4
cat >clients.py <<'SOURCE'
import socket, sys, threading

def connect():
    return socket.create_connection(("127.0.0.1", int(sys.argv[1]))).makefile("rwb")

def work(n):
    f = connect()
    for i in range(200):
        f.write(b"set k%d-%d 0 0 5\r\nvalue\r\nget k%d-%d\r\n" % (n, i, n, i))
        f.flush()
        assert f.readline() == b"STORED\r\n"
        assert f.readline().startswith(b"VALUE")
        assert f.readline() == b"value\r\n"
        assert f.readline() == b"END\r\n"

threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
f = connect()
f.write(b"stats\r\n")
f.flush()
print(next(l.split()[2].decode() for l in iter(f.readline, b"END\r\n") if b" curr_items " in l))
SOURCE
[ "$(/usr/bin/python3 clients.py "$port")" = 1600 ] || fail 'items are missing'
ends_with 0
finish

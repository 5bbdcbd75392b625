#!/usr/bin/env bash
# Python's standard library with threads, asyncio, mmap, ctypes and sqlite3; its subprocesses; its TLS client, with a server on
# the host. Usage: python_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs /usr/bin/python3 openssl
version=$(/usr/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
python=(--program "$(realpath /usr/bin/python3):/usr/bin/python3" --copy "/usr/lib/$version:/usr/lib/$version")

cp "$here"/python_*.py .
copies_of "/usr/lib/$version"/lib-dynload/_{sqlite3,ctypes,ssl,hashlib,bz2,lzma,uuid}.*.so
build "${python[@]}" "${copies[@]}" --copy python_all.py:/app/python_all.py --copy python_tls.py:/app/python_tls.py \
  --heap 512M --threads 24 -o python.enclave
both 0 python.enclave /usr/bin/python3 "$work/python_all.py"
both 3 python.enclave /usr/bin/python3 -c 'import sys; sys.exit(3)'
both 1 python.enclave /usr/bin/python3 -c 'raise ValueError("x")'

make_certificate server
make_certificate stranger
port=$(free_port)
openssl s_server -accept "127.0.0.1:$port" -cert server.pem -key server.key -www -quiet >/dev/null 2>&1 &
listens "$port" $!
both 0 python.enclave /usr/bin/python3 "$work/python_tls.py" "$port" "$(cat server.pem)" "$(cat stranger.pem)"
grep -q TLSv1.3 inside.out || fail "tls: $(cat inside.out)"

children=(--program /bin/sh:/bin/sh)
for program in cat sort sleep seq wc false true ls; do children+=(--program "$(type -P $program)"); done
build "${python[@]}" "${children[@]}" --copy python_children.py:/app/python_children.py --threads 16 -o children.enclave
both 0 children.enclave /usr/bin/python3 "$work/python_children.py"
finish

#!/usr/bin/env bash
# Go, linked statically without a C library and with one (cgo): goroutines, garbage collections, net/http with TLS, calls
# from Go to C and back.
# Usage: go_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs go gcc
mkdir source
cp "$here/go_main.go" source/main.go
cp "$here/go_calls.go" source/calls.go
cp "$here/go_static.go" source/static.go
cd source
export GOCACHE=${cloister%/bin/*}/go-cache GOFLAGS=-mod=mod GO111MODULE=off
CGO_ENABLED=0 go build -o ../static .
CGO_ENABLED=1 go build -o ../cgo .
cd ..
if ldd static >/dev/null 2>&1; then fail 'the static one is not'; fi
ldd cgo >linked
grep -q libc.so linked || fail 'the one with C is without the C library'
for kind in static cgo; do
  build --program "./$kind:/go" --heap 512M --threads 32 -o $kind.enclave
  both 5 $kind.enclave ./$kind
  grep -q 'several collections' inside.out || fail "$kind: no garbage was collected"
done
grep -q 'back from C' inside.out || fail 'cgo: no call of C'
finish

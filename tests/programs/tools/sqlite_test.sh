#!/usr/bin/env bash
# The shell of SQLite runs a script of ten thousand statements: in the enclave's own memory and in an encrypted volume.
# Usage: sqlite_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs sqlite3 python3
python3 "$here/sqlite_script.py" >script.sql
[ "$(grep -o ';' script.sql | wc -l)" -ge 10000 ] || fail 'the script is short'
kept() {  # name, command…: runs it; two statements are wrong, of which the shell speaks and by which it ends
  local kind=$1 code=0
  shift
  timeout 300 "$@" >"$kind.out" 2>"$kind.err" </dev/null || code=$?
  echo "exit code $code" >>"$kind.err"
}
kept native sqlite3 native.db '.read script.sql'
tail -2 native.out | grep -x ok >/dev/null && grep -q 'UNIQUE constraint failed' native.err || fail "natively: $(tail -3 native.out native.err)"
same() {
  cmp -s native.out "$1.out" || fail "$1: other output: $(diff native.out "$1.out" | head -5) $(head -c 300 "$1.err")"
  cmp -s native.err "$1.err" || fail "$1: other messages: $(diff native.err "$1.err" | head -5)"
}
program=(--program "$(type -P sqlite3)" --copy script.sql:/script.sql --heap 256M)
build "${program[@]}" -o memory.enclave
kept memory "$cloister" run "${options[@]}" memory.enclave /tmp/t.db '.read /script.sql'
same memory
build "${program[@]}" --standalone '/data/t.db @@1' --sealed-volume /data -o volume.enclave
kept volume "$cloister" run "${options[@]}" --sealed sealed --sealed-anchor anchor volume.enclave '.read /script.sql'
same volume
# Another run finds the database whole.
inside --sealed sealed --sealed-anchor anchor volume.enclave 'pragma integrity_check; select count(*) from items' >again.out || fail "again: $?"
[ "$(cat again.out)" = "$(sqlite3 native.db 'pragma integrity_check; select count(*) from items')" ] || fail "again: $(cat again.out)"
finish

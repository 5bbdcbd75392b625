#!/usr/bin/env bash
# Runs real programs natively, then in an enclave, and compares output and exit code.
# Usage: programs_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/support.sh"
needs musl-gcc sqlite3 xxd

# ---- one image with the programs of the tutorial's user; `env` starts them by execve
mkdir -p 'data/deep/a b/ü/ñ' data/empty-folder data/text
printf 'root\nuser\nroot again\n' >data/text/names
seq 1 20000 | sort -R --random-source=/etc/services >data/text/numbers
head -c 300000 /etc/services >data/text/services 2>/dev/null || true
: >data/text/empty
head -c 2000000 /dev/urandom >data/deep/random.bin
ln -s ../text/names data/deep/link
ln -s /nowhere data/deep/dangling
echo "deep" >"data/deep/a b/ü/ñ/file with spaces"
chmod 640 data/text/names
find data -exec touch -h -d @315532800 {} +
programs=(env cat cp cut date dd dirname du echo expr false find grep gzip head id ln ls mkdir mv printf pwd readlink rm
  sed seq sh sha256sum sort sqlite3 stat tail tar tee touch tr true uniq wc xxd)
arguments=()
for program in "${programs[@]}"; do arguments+=(--program "$(type -P "$program")"); done
"$cloister" build "${arguments[@]}" --copy data:/data --heap 256M --threads 12 -o all.enclave >/dev/null

# Runs the words natively in $work and inside in /, where data/ is the same.
both() {
  local native inside native_code=0 inside_code=0
  env "$@" >native.out 2>native.err </dev/null || native_code=$?
  "$cloister" run "${options[@]}" all.enclave "$@" >inside.out 2>inside.err </dev/null || inside_code=$?
  [ $native_code -eq $inside_code ] || fail "exit code $inside_code in place of $native_code: $* => $(head -3 inside.err)"
  cmp -s native.out inside.out || fail "other output: $* => $(diff native.out inside.out | head -5)"
  # messages carry the path by which the program was called
  native=$(sed 's|^/[a-z/]*/||' native.err) inside=$(sed 's|^/[a-z/]*/||' inside.err)
  [ "$native" = "$inside" ] || fail "other messages: $* => $inside"
}

both cat data/text/names data/text/empty
both cat data/text/missing
both ls data/text data/deep
both ls -la --time-style=+%s data/text/names data/text/numbers data/deep/link
both stat -c '%n %s %a %F %h %Y' data/text/names data/deep/link data/deep/dangling
both sha256sum data/deep/random.bin data/text/numbers
both sort -n data/text/numbers
both sort -r data/text/services
both wc data/text/numbers data/text/services data/text/empty
both head -n 5 data/text/numbers
both tail -n 5 data/text/numbers
both tail -c +1999990 data/deep/random.bin
both dd if=data/deep/random.bin bs=4096 skip=10 count=20 status=none
both find data -type f -name 'f*' -size -100k
both grep -rn root data/text
both grep -c services data/text/missing
both sed -n 's/root/ROOT/p' data/text/names
both gzip -nc data/text/services
both tar --sort=name --owner=0 --group=0 -cf - data/text data/deep
both cut -c1-3 data/text/names
both tr a-z A-Z
both uniq -c data/text/names
both xxd -l 64 data/deep/random.bin
both readlink data/deep/link
both du -b data/text/numbers
both expr 6 '*' 7
both printf '%s-%d\n' text 5
both date -u -d @1000000000
both seq 3 7
both true
both false
both sh -c 'for i in 1 2 3; do echo $i; done; echo "$1"; exit 5' sh word
both sh -c 'kill -TERM $$'
both sh -c 'seq 2; wc -c </dev/null; cd data/text && head -n 1 names; exit 3'
both id -u

# Standard input and a pipe, and writing: /tmp is the enclave's own memory.
inside() { "$cloister" run "${options[@]}" all.enclave "$@"; }
[ "$(printf 'b\na\n' | inside sort | tr '\n' ' ')" = 'a b ' ] || fail 'sort of standard input'
[ "$(inside sh -c 'cd /tmp; echo text >a; echo two >>a; while read line; do echo "$line!"; done <a; exec rm -v a' |
  tr '\n' ' ')" = "text! two! removed 'a' " ] || fail 'files in /tmp'
[ "$(inside sqlite3 /tmp/t.db 'create table t(a,b); insert into t values(1,2),(3,4);
  create index i on t(a); update t set b=b*2; select sum(a*b) from t; pragma integrity_check;' |
  tr '\n' ' ')" = '28 ok ' ] || fail 'sqlite3'
if inside sh -c 'echo x >/data/new' >/dev/null 2>&1; then fail 'the image can be written'; fi

both sh -c 'seq 3 | wc -l'

# ---- programs of every kind of link
cat >copy.c <<'SOURCE'
#include <stdio.h>
#include <string.h>
int main(int count, char** words) {
  if (count < 3) return 2;
  FILE* in = fopen(words[1], "r");
  FILE* out = fopen(words[2], "w");
  char buffer[4096];
  size_t size;
  if (!in || !out) return 1;
  while ((size = fread(buffer, 1, sizeof buffer, in)) > 0) fwrite(buffer, 1, size, out);
  fclose(in);
  if (fclose(out) != 0) return 1;
  out = fopen(words[2], "r");
  if (!out || !fgets(buffer, sizeof buffer, out)) return 1;
  printf("%s", buffer);
  return 0;
}
SOURCE
build_all() {  # source, name, options…
  local source=$1 name=$2
  shift 2
  gcc -O1 "$source" -o "$name-glibc" "$@"
  gcc -O1 -static "$source" -o "$name-glibc-static" "$@"
  musl-gcc -O1 "$source" -o "$name-musl" "$@"
  musl-gcc -O1 -static "$source" -o "$name-musl-static" "$@"
}
build_all copy.c copy
build_all "$here/threads.c" threads -pthread
for kind in glibc glibc-static musl musl-static; do
  "$cloister" build --program "./copy-$kind" --copy data/text:/in -o "copy-$kind.enclave" >/dev/null
  [ "$("$cloister" run "${options[@]}" "copy-$kind.enclave" /in/names /tmp/out)" = root ] || fail "copy, $kind"
  "$cloister" build --program "./threads-$kind" --threads 10 -o "threads-$kind.enclave" >/dev/null
  [ "$(timeout 120 "$cloister" run "${options[@]}" "threads-$kind.enclave" 8 2000)" = 'total 16000 16000' ] ||
    fail "threads, $kind"
  # As many at once as the largest image has, beside the first.
  "$cloister" build --program "./threads-$kind" --threads 128 -o "many-$kind.enclave" >/dev/null
  [ "$(timeout 120 "$cloister" run "${options[@]}" "many-$kind.enclave" 127 500)" = 'total 63500 63500' ] ||
    fail "127 threads, $kind"
done

# ---- text that one program after the other uses
gcc -O1 "$here/execs.c" -o execs
"$cloister" build --program ./execs:/execs --heap 512M --threads 32 -o execs.enclave >/dev/null
out=$(timeout 120 "$cloister" run "${options[@]}" execs.enclave 2>&1) || fail "execs: $out"
[ "$out" = 'all as expected' ] || fail "execs: $out"

# ---- limits name the setting that holds them
"$cloister" build --program ./threads-glibc --threads 3 -o few.enclave >/dev/null
out=$(CLOISTER_LOG=warning "$cloister" run "${options[@]}" few.enclave 8 10 2>&1) && fail 'more threads than the image has'
[[ $out == *--threads* ]] || fail "too many threads: $out"
"$cloister" build --program "$(type -P dd)" --heap 16M -o small.enclave >/dev/null
out=$(CLOISTER_LOG=warning "$cloister" run "${options[@]}" small.enclave if=/dev/zero of=/dev/null bs=64M count=1 2>&1) &&
  fail 'more memory than the image has'
[[ $out == *--heap* ]] || fail "heap too small: $out"
# A reserved area that cannot grow at another place: the error is the program's, and its memory stays.
cat >grow.c <<'SOURCE'
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
int main(void) {
  const size_t size = 40 << 20;
  char* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  memset(memory, 1, size);
  void* place = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mremap(memory, size, size + 4096, MREMAP_MAYMOVE | MREMAP_FIXED, place) != MAP_FAILED) return 1;
  if (errno != ENOMEM) return 2;
  for (size_t i = 0; i < size; ++i) if (memory[i] != 1) return 3;
  puts("stays");
  return 0;
}
SOURCE
gcc -O1 grow.c -o grow
"$cloister" build --program ./grow --heap 64M -o grow.enclave >/dev/null
out=$("$cloister" run "${options[@]}" grow.enclave 2>&1) || fail "mremap beyond the heap ends with $?: $out"
[[ $out == *stays* ]] || fail "mremap beyond the heap: $out"

finish

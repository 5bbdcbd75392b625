#!/usr/bin/env bash
# Unmodified Debian programs as attested DApps between two encrypted volumes; what they leave there is what they leave in
# ordinary folders. Usage: dapp_test.sh BIN_DIR patched|trapped
source "$(dirname "$0")/../integration/tutorial_support.sh"
options=()
[ "${2:-patched}" = patched ] || options=(--no-patch)

mkdir -p 'INPUTS/deep/a b/ü/ñ/'{1,2,3} INPUTS/empty-folder INPUTS/many KEYS native/encryptedOutputs
printf 'root\nuser\nroot again\n' >INPUTS/names
seq 1 5000 | sort -R --random-source=/etc/services >INPUTS/numbers
head -c 3000000 /dev/urandom >INPUTS/deep/random.bin
: >INPUTS/empty
echo deep >"INPUTS/deep/a b/ü/ñ/file with spaces"
ln -s ../names INPUTS/deep/link
ln -s /nowhere INPUTS/deep/dangling
for i in $(seq 500); do echo "$i" >"INPUTS/many/file $i"; done
chmod 640 INPUTS/names
chmod 750 INPUTS/deep
touch -d '2001-02-03 04:05:06.789' INPUTS/numbers
cp -a INPUTS native/encryptedInputs

start_services
arguments=()
for program in env cat cp dd find grep gzip head ls mkdir mv rm sed sh sha256sum sort sqlite3 tail tar tee touch wc; do
  arguments+=(--program "$(type -P "$program")")
done
for kind in glibc glibc-static musl musl-static; do
  case $kind in
    glibc) compiler=(gcc) ;;
    glibc-static) compiler=(gcc -static) ;;
    musl) compiler=(musl-gcc) ;;
    musl-static) compiler=(musl-gcc -static) ;;
  esac
  "${compiler[@]}" -O1 "$source_folder/examples/copy_files/copy_files.c" -o "copy-$kind"
  arguments+=(--program "./copy-$kind:/usr/bin/copy-$kind")
done
for case in inotifies largest; do
  gcc -O1 -w -D_GNU_SOURCE "$source_folder/tests/syscalls/$case.c" -o $case -pthread
  arguments+=(--program ./$case:/usr/bin/$case)
done
cloister build "${arguments[@]}" --name copy_dapp --heap 256M -o copy_dapp.enclave --template copy_dapp.yml >/dev/null
sed -i 's|command: .*|command: ["env", "-S", "@@1"]|' copy_dapp.yml
line=$(push_with -t copy_dapp.yml)
session=$(session_of "$line")
cloister transfer pull "$(url_of "$line")" volumes --unpack 2>/dev/null
export CLOISTER_CONFIG_ID=$session/application CLOISTER_CAS_ADDR=$cas_enclave CLOISTER_CAS_KEY=$cas_key CLOISTER_LOG=error

# The command line for `env -S`; "IN" and "OUT" are the volumes inside and two folders here.
both() {
  local words=$1 inside native code=0 native_code=0
  inside=${words//IN/\/encryptedInputs} inside=${inside//OUT/\/encryptedOutputs}
  native=${words//IN/$work\/native\/encryptedInputs} native=${native//OUT/$work\/native\/encryptedOutputs}
  PATH=$work:$PATH env -S "$native" >native.out 2>native.err </dev/null || native_code=$?
  cloister run "${options[@]}" --volume /encryptedInputs=volumes/encryptedInputs \
    --volume /encryptedOutputs=volumes/encryptedOutputs copy_dapp.enclave "$inside" >inside.out 2>inside.err </dev/null || code=$?
  [ $code -eq $native_code ] || fail "exit code $code in place of $native_code: $words => $(cat inside.err)"
  sed -i "s|$work/native||g" native.out
  cmp -s native.out inside.out || fail "other output: $words => $(diff native.out inside.out | head -5)"
}
both 'cp -r IN OUT/copy-r'
both 'TMPDIR=OUT NO_SOCKET_FILES=1 inotifies'
both 'TMPDIR=OUT largest'
both "sh -c 'rm -r OUT/syscall-case-*'"
both 'cp -a IN OUT/copy-a'
both 'mv OUT/copy-r OUT/moved'
both 'rm -r OUT/moved/many'
both 'dd if=IN/deep/random.bin of=OUT/dd bs=5000 skip=3 count=200 status=none'
both 'tar -C IN --sort=name -cf OUT/all.tar .'
both 'tar -C OUT --one-top-level=unpacked -xpf OUT/all.tar'
both 'gzip -nk OUT/all.tar'
both 'sort -n -o OUT/sorted IN/numbers'
both 'sed -i s/root/ROOT/ OUT/copy-a/names'
both "find IN/many -name file?499 -fprintf OUT/found %f"
both 'grep -rc root IN/names IN/empty'
both 'sha256sum OUT/dd OUT/sorted'
both 'wc IN/numbers OUT/sorted'
both 'head -n3 OUT/sorted'
both 'tail -c20 OUT/sorted'
both 'ls -l --time-style=+%s.%N OUT/copy-a/numbers OUT/copy-a/deep/link'
both 'sqlite3 OUT/data.db "create table t(a,b);with recursive c(x) as (select 1 union all select x+1 from c where x<2000) insert into t select x,x*x from c"'
both 'sqlite3 OUT/data.db "create index i on t(b);delete from t where a%3=0;select count(*),sum(b) from t;pragma integrity_check"'
both 'wc OUT/missing'
# A shell that forks, between volumes.
both 'sh -c "sort -rn IN/numbers | head -n 5 >OUT/piped; (cat OUT/piped | wc -l) >>OUT/piped; gzip -c IN/names | gzip -dc | tee OUT/again | wc -c"'
for kind in glibc glibc-static musl musl-static; do
  both "mkdir OUT/own-$kind"
  both "copy-$kind IN OUT/own-$kind"
done

# What is in the volume, bit for bit, with modes, times and links.
tag=$(cloister session volumes "$session" --cas "$cas_api" --conf KEYS | awk '/output/ {print $2}')
cloister volume get volumes/encryptedOutputs OUTPUTS --key-file "KEYS/sessions/$session/output.key" --tag "$tag"
# The archives hold the time of the volume's own root; what was unpacked from them is compared. sqlite's content was above.
rm -f {OUTPUTS,native/encryptedOutputs}/{data.db,all.tar,all.tar.gz}
diff -r --no-dereference native/encryptedOutputs OUTPUTS || fail 'the trees differ'
kept() { (cd "$1" && find copy-a unpacked -mindepth 1 \( -type l -printf '%P|%l\n' -o -not -name names -printf '%P|%y|%m|%T@\n' \) | sort); }
diff <(kept native/encryptedOutputs) <(kept OUTPUTS) || fail 'modes, times or links differ'
echo "dapp: all equal (${2:-patched})"

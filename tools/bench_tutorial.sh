#!/usr/bin/env bash
# What the tutorial costs against the same work without protection, in one run: starting a program, attestation with
# configuration, and copying between two encrypted volumes. Usage: tools/bench_tutorial.sh BIN_DIR [ROUNDS]
# The folder of work is below $TMPDIR (default /var/tmp, a disk on most machines).
set -euo pipefail
bin=$(cd "${1:?usage: tools/bench_tutorial.sh BIN_DIR [ROUNDS]}" && pwd)
rounds=${2:-3}
source_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/var/tmp}/cloister-bench-XXXXXX")
# shellcheck source=tools/local_services.sh
source "$source_folder/tools/local_services.sh"
trap 'stop_services; rm -rf "$work"' EXIT
trap 'exit 130' INT
export PATH=$bin:$PATH CLOISTER_LOG=error
cd "$work"

# To be assigned to a variable before it is used: only then a run that fails ends the script.
median() {  # of the elapsed milliseconds of COUNT runs: COUNT command…
  local count=$1 begin i
  shift
  for i in $(seq "$count"); do
    begin=$(date +%s%N)
    "$@" "$i" >out 2>err </dev/null || { echo "failed: $* => $(cat err)" >&2; exit 1; }
    echo $((($(date +%s%N) - begin) / 1000))
  done | sort -n | awk '{v[NR] = $1} END {printf "%.1f", v[int((NR + 1) / 2)] / 1000}'
}
row() { printf '| %s | %s ms | %s ms | %s |\n' "$1" "$native" "$cloister" "$(awk "BEGIN {printf \"%.2f\", $cloister / $native}")"; }

cat >hello.c <<'SOURCE'
#include <stdio.h>
int main(void) { return puts("hello") < 0; }
SOURCE
gcc -O2 -static hello.c -o hello
cloister build --program ./hello --heap 64M -o hello.enclave >/dev/null
start_las
start_cas
start_transfer
cloister cas trust "$cas_api" --key "$cas_key" >/dev/null
cloister build --program "$(type -P env)" --program "$(type -P cp)" --program "$(type -P true)" --name copy_dapp --heap 256M \
  -o copy_dapp.enclave --template copy_dapp.yml >/dev/null
sed -i 's|command: .*|command: ["env", "-S", "@@1"]|' copy_dapp.yml

volumes_of() {  # folder: encrypts it and makes the session; the volumes are in `volumes`
  local line
  rm -rf volumes KEYS
  line=$(encryptedpush --application copy_dapp -t copy_dapp.yml --inputDataFolder "$1" --conf KEYS -s "$cas_api" -r "http://$transfer" 2>/dev/null)
  session=$(sed -nE 's/.*--sessionID ([^ ]*)\/application .*/\1/p' <<<"$line")
  cloister transfer pull "$(sed -nE 's/.*--url ([^ ]*).*/\1/p' <<<"$line")" volumes --unpack 2>/dev/null
}
attested() {  # command line, number of the round
  CLOISTER_CONFIG_ID=$session/application CLOISTER_CAS_ADDR=$cas_enclave CLOISTER_CAS_KEY=$cas_key \
    cloister run --volume /encryptedInputs=volumes/encryptedInputs --volume /encryptedOutputs=volumes/encryptedOutputs \
    copy_dapp.enclave "${1//ROUND/$2}"
}
native_copy() { cp -r data "native-$1" && sync -f "native-$1"; }

echo '| row | native | Cloister | ratio |'
echo '|---|---|---|---|'
native=$(median 21 ./hello)
cloister=$(median 21 cloister run hello.enclave)
row 'start of a static hello, unattested, 64 MiB heap'
mkdir data
echo x >data/x
volumes_of data
native=$(median 21 true)
cloister=$(median 21 attested true)
row 'start of `true` (glibc, dynamic), attested: quote, session, two volumes'
rm -rf data
mkdir data
for i in $(seq 256); do head -c 4M /dev/urandom >"data/file-$i"; done
volumes_of data
native=$(median "$rounds" native_copy)
cloister=$(median "$rounds" attested 'cp -r /encryptedInputs /encryptedOutputs/copy-ROUND')
row '`cp -r` of 1 GiB in files of 4 MiB, between encrypted volumes, durable'
rm -rf data native-*
mkdir data
python3 -c '
import os
for i in range(10000):
    with open(f"data/file-{i}", "wb") as f:
        f.write(os.urandom(4096))'
volumes_of data
native=$(median "$rounds" native_copy)
cloister=$(median "$rounds" attested 'cp -r /encryptedInputs /encryptedOutputs/copy-ROUND')
row '`cp -r` of 10 000 files of 4 KiB, between encrypted volumes, durable'

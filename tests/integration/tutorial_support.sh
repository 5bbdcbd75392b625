# What the tests of the tutorial share: services in a folder of their own, the copy DApp, expectations. To be sourced
# with the folder of the binaries as $1.
set -euo pipefail
bin=$(cd "${1:?usage: $0 BIN_DIR}" && pwd)
source_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/cloister-test-XXXXXX")
# shellcheck source=tools/local_services.sh
source "$source_folder/tools/local_services.sh"
# shellcheck source=tests/support/expect.sh
source "$source_folder/tests/support/expect.sh"
finish() {
  stop_services
  chmod -R u+rwX "$work"
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PATH=$bin:$PATH TMPDIR=$work/tmp
mkdir "$TMPDIR"
cd "$work"

within() {  # seconds, then as `expect`
  local limit=$1 start=$SECONDS
  shift
  expect "$@"
  [ $((SECONDS - start)) -le "$limit" ] || fail "took $((SECONDS - start)) s, allowed are $limit: $*"
}
session_of() { sed -nE 's/.*--sessionID ([^ ]*)\/application .*/\1/p' <<<"$1"; }
url_of() { sed -nE 's/.*--url ([^ ]*).*/\1/p' <<<"$1"; }

build_dapp() {  # output, options for gcc…
  local out=$1
  shift
  gcc -O2 "$@" -o copy_files "$source_folder/examples/copy_files/copy_files.c"
  cloister build --program ./copy_files:/application --heap 64M --stack 4M --threads 8 --name copy_dapp -o "$out" \
    --template "${out%.enclave}.yml" >/dev/null
}
start_services() {
  start_las
  start_cas
  start_transfer
  cloister cas trust "$cas_api" --key "$cas_key" >/dev/null
}
push_with() {  # more options
  encryptedpush --application copy_dapp --inputDataFolder INPUTS --conf KEYS -s "$cas_api" \
    --cas-enclave-port "${cas_enclave##*:}" -r "http://$transfer" "$@"
}
execute_with() {  # line of step 1, more options
  local line=$1
  shift
  # shellcheck disable=SC2086
  cloister execute --image copy_dapp.enclave $line --las "$las" --push "http://$transfer" "$@"
}
silent_service() {  # takes connections and never answers; its address is in `silent`
  python3 -c 'import socket, time
s = socket.create_server(("127.0.0.1", 0), backlog=64)
print("127.0.0.1:%d" % s.getsockname()[1], flush=True)
time.sleep(3600)' >silent.address &
  service_pids+=($!)
  until [ -s silent.address ]; do sleep 0.05; done
  silent=$(cat silent.address)
}
nothing_temporary() { [ -z "$(ls -A "$TMPDIR")" ] || fail "temporary files were left: $(ls -A "$TMPDIR")"; }
no_session_left() { [ -z "$(ls -A KEYS/sessions 2>/dev/null)" ] || fail "local state was left: $(ls KEYS/sessions)"; }
nothing_stored() { [ -z "$(find STORE/files STORE/partial -mindepth 1)" ] || fail "an upload was left: $(find STORE)"; }

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
no_key_in() {  # files and folders in which no volume key may lie, neither as digits nor as bytes
  python3 - "$@" <<'SEARCH' || fail 'a volume key lies in the clear'
import glob, os, sys

needles = {}
for name in glob.glob("KEYS/sessions/*/*.key"):
    digits = open(name).read().strip()
    needles[name] = [digits.encode(), digits.upper().encode(), bytes.fromhex(digits)]
if not needles:
    sys.exit("there is no key to look for")


def files(place):
    if not os.path.isdir(place):
        return [place]
    return [os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names]


def holds(content):
    return [name for name, spellings in needles.items() if any(s in content for s in spellings)]


for spelling in [s for spellings in needles.values() for s in spellings]:
    if not holds(b"\n\0" + spelling + b"\n"):
        sys.exit("the search does not find what it must")
bad = [(path, name) for place in sys.argv[1:] for path in files(place) for name in holds(open(path, "rb").read())]
for path, name in bad:
    print(f"{name} in {path}", file=sys.stderr)
sys.exit(1 if bad else 0)
SEARCH
}
nothing_temporary() { [ -z "$(ls -A "$TMPDIR")" ] || fail "temporary files were left: $(ls -A "$TMPDIR")"; }
no_session_left() { [ -z "$(ls -A KEYS/sessions 2>/dev/null)" ] || fail "local state was left: $(ls KEYS/sessions)"; }
nothing_stored() { [ -z "$(find STORE/files STORE/partial -mindepth 1)" ] || fail "an upload was left: $(find STORE)"; }

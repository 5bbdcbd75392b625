# A CAS inside an enclave, for the tests that start one. To be sourced with the folder of the binaries as $1.
# shellcheck source=tests/integration/tutorial_support.sh
source "$(dirname "${BASH_SOURCE[0]}")/tutorial_support.sh"
cas_pid=
stop_cas() {  # as a power failure would
  [ -z "$cas_pid" ] || { kill -9 "$cas_pid" 2>/dev/null && wait "$cas_pid" 2>/dev/null; } || true
  cas_pid=
}
finish_all() {
  jobs -p | xargs -r kill -9 2>/dev/null || true
  finish
}
trap finish_all EXIT

run_cas() {  # image, sealed volume, anchor; sets cas_key, and the addresses, which it keeps
  : >cas.log  # what the last one said
  cloister run --sealed "$2" --sealed-anchor "$3" "$1" "${cas_api:-127.0.0.1:0}" "${cas_enclave:-127.0.0.1:0}" "$las" \
    >cas.log 2>cas.err </dev/null &
  cas_pid=$!
  for _ in $(seq 1200); do
    grep -q 'enclave API: ' cas.log && break
    kill -0 "$cas_pid" 2>/dev/null || fail "the CAS ended: $(cat cas.log cas.err)"
    sleep 0.05
  done
  cas_key=$(sed -n 's/^CAS key hash: //p' cas.log)
  cas_api=$(sed -n 's#^client API: https://##p' cas.log)
  cas_enclave=$(sed -n 's/^enclave API: //p' cas.log)
  [[ $cas_key =~ ^[0-9a-f]{64}$ ]] || fail "the CAS printed: $(cat cas.log cas.err)"
}
attest() { cloister cas attest "$cas_api" --trust-simulation LAS/simulation-root.pem "$@"; }

#!/usr/bin/env bash
# What of its platform and kind an owner accepts of a CAS: every option of `cas attest` against every status that a LAS can
# be set to, each with the options that must not be enough. Usage: cas_attest_test.sh BIN_DIR
source "$(dirname "$0")/cas_enclave_support.sh"

start_enclave() {  # image
  stop_cas
  run_cas "$1" "$1.sealed" "$1.anchor"
}
platform() {  # options of las serve
  kill "$las_pid" && wait "$las_pid" || true
  start_las "$@"
  las_pid=$service_pid
}
accepted() { expect 0 'is trustworthy' attest "$mrenclave" "$@"; }
refused() {  # words, options…
  local words=$1
  shift
  expect 4 "$words" attest "$mrenclave" "$@"
}

start_las
las_pid=$service_pid
"$source_folder/tools/build_cas_enclave.sh" "$bin" cas.enclave LAS/simulation-root.pem >/dev/null
mrenclave=$(cloister hash cas.enclave)
start_enclave cas.enclave
accepted
accepted --mrenclave "${mrenclave//[0-9]/7}"
expect 4 'Enclave hash does not match expectation' attest "${mrenclave//[0-9]/7}"
expect 2 '`nonsense` is no advisory' attest "$mrenclave" --ignore-advisory nonsense
expect 5 'the client API is on port 8081' cloister cas attest "$cas_enclave" "$mrenclave"

# --- who it is: for tests only

expect 2 'say which enclave you expect' attest --only-for-testing-debug
for spelling in --only-for-testing --only_for_testing; do
  expect 0 'any enclave was accepted' attest "$spelling-trust-any"
  expect 0 'any enclave was accepted' attest "$spelling-ignore-signer"
  expect 2 'contradicts' attest "$mrenclave" "$spelling-trust-any"
  expect 0 'is trustworthy' attest "$mrenclave" "$spelling-ignore-signer"
  [[ $out != *'any enclave was accepted'* ]] || fail "a measurement was given: $out"
  expect 4 'Enclave hash does not match' attest "${mrenclave//[0-9]/7}" "$spelling-ignore-signer"
  expect 2 'contradicts' attest --mrsigner "$mrenclave" --isvprodid 0 --isvsvn 0 "$spelling-ignore-signer"
done

# --- what is said of its platform: STATUS, the options that accept it; all others together do not

all='C G S'
id=(--ignore-advisory INTEL-SA-00615)  # what a LAS names with every status but UpToDate, unless told otherwise
status() {
  local letter others='' wanted=$2
  platform --tcb-status "$1"
  refused "tcb-status: $1" "${id[@]}"
  for letter in $all; do [[ $wanted == *$letter* ]] || others+=$letter; done
  [ -z "$others" ] || refused "tcb-status: $1" "${id[@]}" "-$others"
  for letter in $(fold -w1 <<<"$wanted"); do
    [ "${#wanted}" = 1 ] || refused "tcb-status: $1" "${id[@]}" "-$letter"
    # shellcheck disable=SC2046
    refused "tcb-status: $1" "${id[@]}" $(for one in $all; do [ "$one" = "$letter" ] || echo "-$one"; done)
  done
  accepted "${id[@]}" "-$wanted"
  accepted "${id[@]}" -CGS
}

status SWHardeningNeeded S
accepted "${id[@]}" --accept-sw-hardening-needed
status ConfigurationNeeded C
accepted "${id[@]}" --accept-configuration-needed
status OutOfDate G
accepted "${id[@]}" --accept-group-out-of-date
refused 'is accepted with: --accept-group-out-of-date' "${id[@]}"
status ConfigurationAndSWHardeningNeeded CS
status OutOfDateConfigurationNeeded CG
refused 'is accepted with: --accept-group-out-of-date --accept-configuration-needed' "${id[@]}"
platform --tcb-status Revoked
refused 'tcb-status: Revoked' "${id[@]}" -CGS
[[ $out != *'is accepted with'* ]] || fail "nothing accepts it: $out"

# --- and of its advisories

platform --tcb-status OutOfDate --advisory INTEL-SA-00334 --advisory INTEL-SA-00615
both=(--ignore-advisory INTEL-SA-00334 --ignore-advisory INTEL-SA-00615)
refused "is accepted with: --accept-group-out-of-date ${both[*]}"
refused 'advisories: INTEL-SA-00334, INTEL-SA-00615' -G
[[ $out != *'tcb-status'* ]] || fail "-G does not accept it: $out"
refused 'advisories: INTEL-SA-00615 ' -G --ignore-advisory INTEL-SA-00334
refused 'advisories: INTEL-SA-00334, INTEL-SA-00615' -CGS --ignore-advisory INTEL-SA-003344
refused 'tcb-status: OutOfDate' -C -S "${both[@]}"
accepted -G "${both[@]}"

# --- a debug enclave

platform
CAS_BUILD_OPTIONS='--debug' "$source_folder/tools/build_cas_enclave.sh" "$bin" debug.enclave LAS/simulation-root.pem >/dev/null
mrenclave=$(cloister hash debug.enclave)
start_enclave debug.enclave
refused 'debug-mode'
refused 'is accepted with: --only-for-testing-debug' -CGS
accepted --only-for-testing-debug
accepted --only_for_testing-debug
expect 4 'debug-mode' attest --only-for-testing-trust-any
expect 0 'any enclave was accepted' attest --only_for_testing-debug --only_for_testing-ignore-signer -C -G -S
echo 'cas attest: all passed'

#!/usr/bin/env bash
# What decides whether an enclave gets its configuration, from end to end: real enclaves of one image, a LAS that is set
# to every kind of platform, one CAS, and what the session's owner reads about each refusal.
# Usage: attested_rules_test.sh BIN_DIR
set -euo pipefail
# shellcheck source=tests/integration/tutorial_support.sh
source "$(dirname "$(realpath "$0")")/tutorial_support.sh" "${1:?usage: attested_rules_test.sh BIN_DIR}"

start_las
start_cas
cloister cas trust "$cas_api" --key "$cas_key" >/dev/null
cat >report.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char** argv) {
  printf("the secret is %s\n", argc > 1 ? argv[1] : "");
  fflush(stdout);
  if (argc > 2) sleep((unsigned)atoi(argv[2]));
  return 0;
}
END
gcc -O2 -o report report.c
cloister build --program ./report:/report --heap 16M --stack 1M --threads 4 --name report -o report.enclave >/dev/null
measurement=$(cloister hash report.enclave)
export CLOISTER_CAS_ADDR=$cas_enclave CLOISTER_CAS_KEY=$cas_key CLOISTER_LOG=error

# A new session NAME whose `security` is the text given, and whose service has more keys.
session() {  # NAME, security, more of the service
  cat >"$1.yml" <<END
name: $1
version: "0.3"
services:
  - name: app
    mrenclaves: [$measurement]
    command: [/report, \$\$SCONE::word\$\$, "${seconds:-0}"]
${3:+    $3}
secrets: [{name: word, kind: ascii, value: open}, {name: otp, kind: binary, value: 3132333435363738393031323334353637383930}]
security: $2
END
  cloister session create "$1.yml" --cas "$cas_api" >/dev/null
}
tolerating() { echo "{attestation: {tolerate: [simulation-mode, hyperthreading${1:+, $1}]${2:+, ignore_advisories: [$2]}}}"; }
run() { env CLOISTER_CONFIG_ID="$1" "${@:2}" cloister run report.enclave; }
accepted() { expect 0 'the secret is open' run "$@"; }
refused() {  # rules that the enclave is told, CONFIG_ID, settings…
  expect 4 "The program enclave is not trustworthy ($1)" run "${@:2}"
  [[ $out != *'the secret is'* ]] || fail "a refused enclave printed it: $out"
  local name=${2%%/*}
  events=$(cloister session events "$name" --cas "$cas_api")
}
owner_reads() { [[ $events == *"$1"* ]] || fail "the owner does not read '$1' in: $events"; }
platform() {  # options of las serve
  kill "$service_las" && wait "$service_las" || true
  start_las "$@"
  service_las=$service_pid
}
service_las=${service_pids[0]}

# --- the platform's status

session plain "$(tolerating)"
session outdated "$(tolerating outdated-tcb)"
session ignoring "$(tolerating outdated-tcb 'INTEL-SA-00334, INTEL-SA-00615')"
session half "$(tolerating outdated-tcb INTEL-SA-00334)"
accepted plain/app

platform --tcb-status OutOfDate --advisory INTEL-SA-00334 --advisory INTEL-SA-00615
refused 'tcb-status, advisories' plain/app
owner_reads 'tcb-status: OutOfDate - Expected UpToDate (would be allowed by security: {attestation: {tolerate: [outdated-tcb]}})'
owner_reads 'advisories: INTEL-SA-00334, INTEL-SA-00615 - Expected no open advisory (would be allowed by security: {attestation: {ignore_advisories: [INTEL-SA-00334, INTEL-SA-00615]}})'
refused advisories outdated/app
refused advisories half/app
owner_reads 'advisories: INTEL-SA-00615 - Expected no open advisory'
accepted ignoring/app
# What the owner is told to write is what helps: the denial's own YAML, put into the session.
session suggested '{attestation: {tolerate: [simulation-mode, hyperthreading, outdated-tcb], ignore_advisories: [INTEL-SA-00334, INTEL-SA-00615]}}'
accepted suggested/app

platform --tcb-status Revoked
refused tcb-status ignoring/app
owner_reads 'tcb-status: Revoked - Expected UpToDate'
platform --revoke-pck
expect 4 'the evidence is not accepted' run ignoring/app
platform --expired-collateral
expect 4 'the evidence is not accepted' run ignoring/app
for status in SWHardeningNeeded:software-hardening-needed ConfigurationNeeded:insecure-configuration; do
  platform --tcb-status "${status%%:*}" --advisory INTEL-SA-00615
  refused tcb-status ignoring/app
  owner_reads "tcb-status: ${status%%:*} - Expected UpToDate (would be allowed by security: {attestation: {tolerate: [${status#*:}]}})"
  session "fits-${status#*:}" "$(tolerating "${status#*:}" INTEL-SA-00615)"
  accepted "fits-${status#*:}/app"
done

# --- what is measured and how it runs

platform
session untolerant '{attestation: {tolerate: [hyperthreading]}}'
refused simulation-mode untolerant/app
owner_reads 'Expected hardware (would be allowed by security: {attestation: {tolerate: [simulation-mode]}})'
session threads '{attestation: {tolerate: [simulation-mode]}}'
refused hyperthreading threads/app
owner_reads 'would be allowed by security: {attestation: {tolerate: [hyperthreading]}})'
right=$measurement measurement=${measurement//[0-9]/f}
session other "$(tolerating)"
measurement=$right
refused mrenclave other/app
owner_reads "Unexpected enclave measurement (MRENCLAVE, $right) - Expected ${right//[0-9]/f} (would be allowed by services: [{name: app, mrenclaves: [$right]}])"

# --- one-time passwords, computed by somebody else's code

password() {  # step from now, secret in hex
  python3 -c 'import hashlib, hmac, struct, sys, time
mac = hmac.new(bytes.fromhex(sys.argv[2]), struct.pack(">q", int(time.time()) // 30 + int(sys.argv[1])), hashlib.sha1).digest()
at = mac[19] & 15
print("%06d" % ((struct.unpack(">I", mac[at:at + 4])[0] & 0x7fffffff) % 1000000))' "$1" "${2:-3132333435363738393031323334353637383930}"
}
session passwords '{attestation: {tolerate: [simulation-mode, hyperthreading], one_time_password_shared_secret: GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ}}'
refused one-time-password passwords/app
owner_reads 'one-time-password: no password - Expected the configuration id SESSION/SERVICE@PASSWORD'
refused one-time-password passwords/app@abcdef
now=$(password 0)
accepted "passwords/app@$now"
refused one-time-password "passwords/app@$now"
owner_reads 'one that was used'
session own "$(tolerating)" 'one_time_password_shared_secret: $$SCONE::otp:base32nopad$$'
refused one-time-password own/app
accepted "own/app@$(password 0)"

# --- the access token

session token '{service_access_token: open-sesame, attestation: {tolerate: [simulation-mode, hyperthreading]}}'
refused service-access-token token/app
owner_reads 'service-access-token: no token - Expected the session'
refused service-access-token token/app SCONE_SERVICE_ACCESS_TOKEN=open-barley
accepted token/app SCONE_SERVICE_ACCESS_TOKEN=open-sesame
accepted token/app CLOISTER_SERVICE_ACCESS_TOKEN=open-sesame
expect 4 'the CAS does not know the service access token' run plain/app SCONE_SERVICE_ACCESS_TOKEN=open-sesame
[[ $out != *'the secret is'* ]] || fail "it ran without the CAS's proof"

# --- the only one

seconds=60
session single '{singleton_enclaves: true, attestation: {tolerate: [simulation-mode, hyperthreading]}}'
session many "$(tolerating)"
begin() {  # CONFIG_ID; its process is the last of service_pids
  CLOISTER_CONFIG_ID=$1 cloister run report.enclave >first.out 2>&1 &
  service_pids+=($!)
  for _ in $(seq 200); do
    grep -q 'the secret is open' first.out && return 0
    sleep 0.05
  done
  fail "it did not start: $(cat first.out)"
}
begin single/app
expect 4 'singleton-enclaves: service `app` is running already' run single/app
events=$(cloister session events single --cas "$cas_api")
owner_reads 'singleton-enclaves: service `app` is running already'
kill -9 "${service_pids[-1]}"
wait "${service_pids[-1]}" 2>/dev/null || true
begin single/app
begin many/app
begin many/app
echo 'rules: all passed'

#!/usr/bin/env bash
# A CAS and a client that was written from the protocol's page. Usage: second_client_test.sh BIN_DIR MAKE_EVIDENCE_BINARY
set -euo pipefail
# shellcheck source=tests/integration/tutorial_support.sh
source "$(dirname "$(realpath "$0")")/tutorial_support.sh" "${1:?usage: second_client_test.sh BIN_DIR MAKE_EVIDENCE_BINARY}"

mkfifo ask answer
"${2:?usage: second_client_test.sh BIN_DIR MAKE_EVIDENCE_BINARY}" TDX tdx <ask >answer &
service_pids+=($!)
exec 8>ask 9<answer
for _ in $(seq 100); do
  [ -s TDX/tdx-root.pem ] && break
  sleep 0.05
done
start_las
start_cas --trust-simulation TDX/tdx-root.pem
cloister cas trust "$cas_api" --key "$cas_key" >/dev/null
mrtd=$(printf '10%.0s' $(seq 48))
rtmr1=$(printf 'a1%.0s' $(seq 48))
session() {  # NAME, more of `security`
  cat >"$1.yml" <<END
name: $1
version: "0.3"
services:
  - name: app
    image_name: image
    attestation: [{mrtd: $mrtd, rtmr1: $rtmr1}]
    command: [app, \$\$SCONE::word\$\$, "@@1"]
secrets: [{name: word, kind: ascii, value: the secret}]
volumes: [{name: out}]
images:
  - name: image
    volumes: [{name: out, path: /out}]
    injection_files: [{path: /etc/word, content: \$\$SCONE::word\$\$, permission: 0o400}]
security: {${2:+$2, }attestation: {tolerate: [simulation-mode, hyperthreading]}}
END
  cloister session create "$1.yml" --cas "$cas_api" >/dev/null
}
session second
session second-token 'service_access_token: open-sesame'
python3 "$source_folder/tests/integration/second_client.py" "$cas_enclave" "$cas_key" /dev/fd/8 /dev/fd/9 TDX/tdx-collateral.json second/app
events=$(cloister session events second --cas "$cas_api")
[[ $events == *"TDX MRTD $mrtd"* ]] || fail "the owner does not read of it: $events"
# Each refusal for its own reason, in the order in which the client tries them.
reasons=$(sed -nE 's/^[^ ]+ (denied|unproven|refused): (tags of )?service ([a-z]+) from [0-9.:]+: /\3: /p' <<<"$events" | uniq -c | sed -E 's/^ +//')
unbound='app: evidence not bound to this connection: report data: the quote was made for something else'
wanted="1 app: version unsupported: the enclave asks for version 2
1 app: version unsupported: the enclave asks for version 0
1 app: nonce invalid: a nonce of another connection was used
1 app: evidence invalid: the quote is of another TEE than the request says
1 app: evidence invalid: quote: version 28526
1 app: nonce invalid: a nonce of another connection was used
10 $unbound
1 nobody: the session has no such service
1 $unbound
1 app: The FSPF tag is not fresh - suspected replay attack
1 app: the lease on volume \`out\` is lost: another instance writes now"
[ "$reasons" = "$wanted" ] || fail "the owner reads other reasons: $(diff <(echo "$wanted") <(echo "$reasons"))"
tokens=$(cloister session events second-token --cas "$cas_api")
[[ $tokens == *'service-access-token: another token'* && $tokens == *'service-access-token: no token'* ]] || fail "the owner reads other reasons: $tokens"

# What test scripts expect of a command. To be sourced before the script leaves its folder.

fail() {
  echo "FAILED: $*" >&2
  exit 1
}
wait_until() {  # until the command succeeds; a busy machine takes its time
  for _ in $(seq 6000); do
    "$@" && return
    sleep 0.01
  done
  fail "in vain for a minute: $*"
}
volume_session() {  # key, tag: a session that has the volume, on standard output
  cat <<YAML
name: volumes
version: "0.3"
services:
  - name: app
    image_name: app
    mrenclaves: [$(printf '%064d' 1)]
    command: app
volumes:
  - name: data
    fspf_key: $1
    fspf_tag: $2
YAML
}
expect() {  # wanted exit code, words of the output, command…; the output is in `out` afterwards
  local want=$1 words=$2 code=0
  shift 2
  out=$("$@" 2>&1 </dev/null) || code=$?
  [ "$code" -eq "$want" ] || fail "exit code $code in place of $want: $* => $out"
  [[ $out == *"$words"* ]] || fail "output lacks '$words': $* => $out"
}

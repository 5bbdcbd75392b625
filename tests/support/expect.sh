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
expect() {  # wanted exit code, words of the output, command…; the output is in `out` afterwards
  local want=$1 words=$2 code=0
  shift 2
  out=$("$@" 2>&1 </dev/null) || code=$?
  [ "$code" -eq "$want" ] || fail "exit code $code in place of $want: $* => $out"
  [[ $out == *"$words"* ]] || fail "output lacks '$words': $* => $out"
}

# What the tests of this folder begin with, beyond ../support.sh: a server inside that goes when the test ends.
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
server=
fail() {
  echo "FAILED: $*: $(tail -5 server.log 2>/dev/null)" >&2
  failures=$((failures + 1))
}
start() {  # port, image, words…
  local port=$1
  shift
  "$cloister" run "${options[@]}" "$@" >server.log 2>&1 </dev/null &
  server=$!
  listens "$port" "$server" || { fail "does not listen: $*"; exit 1; }
}
ends_with() {  # exit code: the server must end by SIGTERM with it, within 10 seconds
  local code=0
  kill -TERM "$server"
  for _ in $(seq 200); do kill -0 "$server" 2>/dev/null || break; sleep 0.05; done
  kill -KILL "$server" 2>/dev/null && fail 'still runs 10 seconds after SIGTERM'
  wait "$server" || code=$?
  server=
  [ "$code" -eq "$1" ] || fail "exit code $code in place of $1 after SIGTERM"
}

# What the tests of this folder begin with. To be sourced with the script's own arguments: CLOISTER_BINARY patched|trapped.
# Leaves the script in an empty folder, `work`, that goes when it ends.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
name=$(basename "$0" _test.sh)
cloister=$(realpath "${1:?usage: ${0##*/} CLOISTER_BINARY patched|trapped}")
way=${2:-patched}
options=()
[ "$way" = patched ] || options=(--no-patch)
work=$(mktemp -d)
leave() {
  local jobs
  jobs=$(jobs -p)
  [ -z "$jobs" ] || kill $jobs 2>/dev/null || true
  rm -rf "$work"
}
trap leave EXIT
cd "$work"
export CLOISTER_CONFIG=$work/config CLOISTER_SIM_STATE=$work/sim CLOISTER_LOG=error LC_ALL=C.UTF-8 TZ=UTC
libraries=/usr/lib/x86_64-linux-gnu

failures=0
fail() {
  echo "FAILED: $*" >&2
  failures=$((failures + 1))
}
needs() {  # programs or files…: without one of them the whole test is skipped (for ctest: 77)
  local one
  for one in "$@"; do
    command -v "$one" >/dev/null || [ -r "$one" ] || { echo "skipped: $name ($one is not installed)"; exit 77; }
  done
}
build() { "$cloister" build "$@" >/dev/null; }
copies_of() {  # files…: the libraries they need, as --copy options in `copies`; for what a program loads with dlopen
  local path
  copies=()
  while read -r path; do copies+=(--copy "$(realpath "$path"):${path/#\/lib\//\/usr\/lib\/}"); done \
    < <(ldd "$@" | awk '$3 ~ /^\// {print $3}' | grep -v '/libc\.so' | sort -u)
}
inside() { timeout 300 "$cloister" run "${options[@]}" "$@" </dev/null; }
# The exit code that the author saw, image, then the native command; the image gets the same words behind its program.
both() {
  local wanted=$1 image=$2 native=0 inside=0 words=() word
  shift 2
  for word in "${@:2}"; do words+=("${word/#$work\///app/}"); done  # /tmp is another one inside
  timeout 120 "$@" >native.out 2>native.err </dev/null || native=$?
  inside "$image" "${words[@]}" >inside.out 2>inside.err || inside=$?
  [ $native -eq "$wanted" ] || fail "$image: exit code $native in place of $wanted outside: $(head -c 600 native.err)"
  [ $native -eq $inside ] || fail "$image: exit code $inside in place of $native: $(head -c 600 inside.err)"
  cmp -s native.out inside.out || fail "$image: other output: $(diff native.out inside.out | head -6) $(head -c 300 inside.err)"
}
finish() {
  [ $failures -eq 0 ] || exit 1
  echo "$name: as outside ($way)"
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
listens() {  # port, [process]: waits until something listens there; fails when the process has ended instead
  for _ in $(seq 300); do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
    [ -z "${2:-}" ] || kill -0 "$2" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}
make_certificate() {  # name: NAME.pem for this machine, NAME.key
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.pem" -days 2 -subj "/CN=$1" \
    -addext subjectAltName=IP:127.0.0.1,DNS:localhost 2>/dev/null
}

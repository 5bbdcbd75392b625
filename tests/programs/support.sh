# What the tests of this folder begin with. To be sourced with the script's own arguments: CLOISTER_BINARY patched|trapped
# [NAME…]. Leaves the script in an empty folder, `work`, that goes when it ends.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
cloister=$(realpath "${1:?usage: ${0##*/} CLOISTER_BINARY patched|trapped [NAME…]}")
way=${2:-patched}
options=()
[ "$way" = patched ] || options=(--no-patch)
wanted=("${@:3}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export CLOISTER_CONFIG=$work/config CLOISTER_SIM_STATE=$work/sim CLOISTER_LOG=error LC_ALL=C.UTF-8 TZ=UTC

failures=0 ran=()
fail() {
  echo "FAILED: $*" >&2
  failures=$((failures + 1))
}
has() {  # name, programs…: whether to test it; what is not installed is said
  local name=$1
  [ ${#wanted[@]} -eq 0 ] || [[ " ${wanted[*]} " == *" $name "* ]] || return 1
  shift
  for program in "$@"; do
    command -v "$program" >/dev/null && continue
    echo "skipped: $name ($program is not installed)"
    return 1
  done
  ran+=("$name")
}
build() { "$cloister" build "$@" >/dev/null; }
finish() {  # what went well
  [ $failures -eq 0 ] || exit 1
  echo "$* ($way)"
}

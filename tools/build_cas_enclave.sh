#!/usr/bin/env bash
# Makes cas.enclave: the CAS as a program inside an enclave, its state on a sealed volume, its whole command measured.
# The roots that it trusts are part of the image, so an owner who knows the MRENCLAVE knows them, too.
# Usage: build_cas_enclave.sh BIN_DIR OUTPUT [SIMULATION_ROOT.pem]; more options of `cloister build` in CAS_BUILD_OPTIONS
set -euo pipefail
bin=$(cd "${1:?usage: $0 BIN_DIR OUTPUT [SIMULATION_ROOT.pem]}" && pwd)
output=${2:?usage: $0 BIN_DIR OUTPUT [SIMULATION_ROOT.pem]}
command='cas serve --state /state/cas --listen-api=@@1 --listen-enclave=@@2 --las=@@3'
options=()
if [ $# -ge 3 ]; then
  options+=(--copy "$3:/simulation-root.pem")
  command+=' --trust-simulation /simulation-root.pem'
fi
# shellcheck disable=SC2086
exec "$bin/cloister" build --program "$(readlink -f "$bin/cloister"):/cloister" "${options[@]}" --name cas --heap 1G --threads 128 \
  --sealed-volume /state --standalone "$command" ${CAS_BUILD_OPTIONS:-} -o "$output"

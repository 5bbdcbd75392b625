# LAS, CAS and transfer server of a test or demo, on free loopback ports, in a folder of their own. To be sourced, with
#   bin    folder of the binaries
#   work   an empty folder; settings, keys and the simulated machine's secret are kept there, too
# Sets las, cas_api, cas_enclave and transfer (IP:PORT each), cas_key. stop_services ends what was started.
export HOME=$work/home
export XDG_CONFIG_HOME=$work/home/.config XDG_STATE_HOME=$work/home/.local/state XDG_CACHE_HOME=$work/home/.cache
export CLOISTER_CONFIG=$work/owner CLOISTER_SIM_STATE=$work/machine
unset SCONE_CAS_ADDR SCONE_LAS_ADDR SCONE_CONFIG_ID SCONE_MODE CLOISTER_CAS_ADDR CLOISTER_LAS_ADDR
mkdir -p "$HOME"
service_pids=()

stop_services() {
  local pid
  for pid in "${service_pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${service_pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  service_pids=()
}

# Starts `cloister ARGS…`, waits until it has said COUNT addresses; they are in `addresses`, the process id in
# `service_pid`. Its output is in WORK/NAME.log.
start_service() {  # NAME COUNT ARGS…
  local name=$1 count=$2 log=$work/$1.log
  shift 2
  "$bin/cloister" "$@" >"$log" 2>"$work/$name.err" </dev/null &
  service_pid=$!
  service_pids+=("$service_pid")
  local i
  for i in $(seq 200); do
    mapfile -t addresses < <(grep -oE '127\.0\.0\.1:[0-9]+' "$log" || true)
    [ "${#addresses[@]}" -ge "$count" ] && return 0
    kill -0 "$service_pid" 2>/dev/null || break
    sleep 0.05
  done
  echo "cloister $* did not start:" >&2
  cat "$log" "$work/$name.err" >&2
  return 1
}

start_las() {  # more options of las serve
  start_service las 1 las serve --mode sim --state "$work/LAS" --listen "${las:-127.0.0.1:0}" "$@"
  las=${addresses[0]}
  export CLOISTER_LAS_ADDR=$las
}

start_cas() {
  start_service cas 2 cas serve --state "$work/CAS" --listen-api "${cas_api:-127.0.0.1:0}" \
    --listen-enclave "${cas_enclave:-127.0.0.1:0}" --trust-simulation "$work/LAS/simulation-root.pem" "$@"
  cas_api=${addresses[0]}
  cas_enclave=${addresses[1]}
  cas_key=$(grep -oE '[0-9a-f]{64}' "$work/cas.log" | head -1)
}

start_transfer() {
  start_service transfer 1 transfer serve --root "$work/STORE" --listen "${transfer:-127.0.0.1:0}" "$@"
  transfer=${addresses[0]}
}

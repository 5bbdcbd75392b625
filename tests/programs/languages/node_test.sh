#!/usr/bin/env bash
# Node.js: files and their watches, compiled code, worker_threads, an HTTP server and its client;
# children.
# Usage: node_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs /usr/bin/node
cp "$here"/node_*.js .
own=()
[ ! -d /usr/share/nodejs ] || own=(--copy /usr/share/nodejs:/usr/share/nodejs)  # where Debian's has a part of itself
build --program /usr/bin/node --program "$(realpath /bin/sh):/bin/sh" --program "$(command -v cat)" "${own[@]}" \
  --copy node_all.js:/app/node_all.js --copy node_children.js:/app/node_children.js \
  --heap 4G --threads 48 -o node.enclave
export NODE_EXTRA_CA_CERTS=
both 7 node.enclave /usr/bin/node "$work/node_all.js"
both 0 node.enclave /usr/bin/node "$work/node_children.js"
finish

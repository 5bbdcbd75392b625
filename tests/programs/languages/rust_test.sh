#!/usr/bin/env bash
# Rust: threads, channels, std::net, files, a caught panic.
# Usage: rust_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs rustc
rustc -O "$here/rust_main.rs" -o rust 2>/dev/null
build --program ./rust:/rust --threads 16 -o rust.enclave
both 6 rust.enclave ./rust
finish

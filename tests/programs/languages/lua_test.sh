#!/usr/bin/env bash
# Lua: tables, strings, protected calls.
# Usage: lua_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs /usr/bin/lua5.4
build --program /usr/bin/lua5.4 -o lua.enclave
both 2 lua.enclave /usr/bin/lua5.4 -e 'local t = {} for i = 1, 1000 do t[#t + 1] = i * i end table.sort(t, function(a, b) return a > b end)
  print(t[1], #t, string.format("%5.2f", math.pi), ("x"):rep(5)); print(pcall(error, "caught")); os.exit(2)'
finish

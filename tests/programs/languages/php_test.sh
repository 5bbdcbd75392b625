#!/usr/bin/env bash
# PHP: arrays, JSON, regular expressions, hashes, and a shell that it starts.
# Usage: php_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs /usr/bin/php /usr/share/zoneinfo/UTC
build --program "$(realpath /usr/bin/php):/usr/bin/php" --program "$(realpath /bin/sh):/bin/sh" --program "$(command -v tr)" \
  --copy /usr/share/zoneinfo:/usr/share/zoneinfo --heap 256M -o php.enclave
both 6 php.enclave "$(realpath /usr/bin/php)" -n -r '$a = range(1, 1000); echo array_sum(array_map(fn($x) => $x * $x, $a)), json_encode(["a" => [1, 2.5]]),
  preg_replace("/[0-9]+/", "#", "a1b22"), hash("sha256", "abc"), shell_exec("echo from a shell | tr a-z A-Z"); exit(6);'
finish

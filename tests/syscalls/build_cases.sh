#!/usr/bin/env bash
# Makes of the cases of this folder one program, ./cases, and prints their names.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
names=()
list=
for source in "$here"/*.c; do
  name=$(basename "$source" .c)
  [ "$name" = cases_main ] && continue
  names+=("$name")
  list+="CASE($name) "
done
printf '%s\n' "${names[@]}" |
  xargs -P 2 -I NAME gcc -O1 -w -D_GNU_SOURCE -Dmain=case_NAME -c "$here/NAME.c" -o NAME.o
gcc -O1 "-DCASES=$list" "$here/cases_main.c" ./*.o -o cases -pthread -lrt -lm
printf '%s\n' "${names[@]}"

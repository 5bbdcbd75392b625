#!/usr/bin/env bash
# R: linear algebra, a model, files, a shell that it starts, forked workers. R is started by its own shell script.
# Usage: r_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs Rscript
# R asks `which` for programs as it starts.
programs=(--program "$(command -v Rscript)" --program /usr/lib/R/bin/exec/R)
for program in bash sh sed rm; do programs+=(--program "$(realpath /bin/$program):/bin/$program"); done
for program in uname tr; do programs+=(--program "$(type -P $program)"); done
copies_of /usr/lib/R/lib/*.so /usr/lib/R/library/*/libs/*.so /usr/lib/R/modules/{internet,lapack}.so
build "${programs[@]}" --copy /usr/lib/R:/usr/lib/R --copy /usr/share/R:/usr/share/R --copy /etc/R:/etc/R "${copies[@]}" \
  --copy /usr/lib/locale/C.utf8:/usr/lib/locale/C.utf8 --copy "$(realpath /usr/bin/which):/usr/bin/which" \
  --copy "$here/r_main.R:/app/r_main.R" --heap 512M --threads 16 -o r.enclave
cp "$here/r_main.R" .
both 3 r.enclave Rscript --vanilla "$work/r_main.R"
finish

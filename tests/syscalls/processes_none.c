#include <sys/wait.h>
#include "facts.h"
// Without children: wait4, waitid.
int main(void) {
  int status;
  siginfo_t info;
  CALL(wait4(-1, &status, WNOHANG, NULL));
  CALL(waitpid(12345678, &status, 0));
  CALL(waitid(P_ALL, 0, &info, WEXITED | WNOHANG));
  return 0;
}

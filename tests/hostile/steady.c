// Copies /encryptedInputs/confidential-name to /encryptedOutputs and keeps the plaintext in its memory until
// SIGTERM. Prints "ready" once both are done; never anything of the content.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t stop;
static void on_term(int signal) {
  (void)signal;
  stop = 1;
}

int main(void) {
  static char buffer[1 << 20];
  struct sigaction action = {.sa_handler = on_term};
  sigaction(SIGTERM, &action, NULL);
  const int in = open("/encryptedInputs/confidential-name", O_RDONLY);
  const int out = open("/encryptedOutputs/confidential-copy", O_WRONLY | O_CREAT, 0600);
  if (in < 0 || out < 0) return 1;
  const ssize_t size = read(in, buffer, sizeof buffer);
  if (size <= 0 || write(out, buffer, (size_t)size) != size || fsync(out) != 0) return 1;
  puts("ready");
  fflush(stdout);
  while (!stop) pause();
  return 0;
}

#include <sys/wait.h>
#include "facts.h"
// Process groups and sessions.
static int in_child(int (*body)(void)) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    int code = body();
    fflush(stdout);
    _exit(code);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

static int leader(void) {
  FACT(getpgid(0) == getpgrp());
  FACT(getpgrp() == getpid());
  CALL(setpgid(0, 0));
  FACT(getpgrp() == getpid());
  FACT(getpgid(getpid()) == getpid());
  CALL(setpgid(0, -1));
  CALL(setpgid(99999999, 0));
  CALL(setpgid(0, 99999999));
  CALL(setsid());  // a group's leader cannot
  return 1;
}

static int session(void) {
  FACT(getsid(0) == getsid(getpid()));
  FACT(setsid() == getpid());
  FACT(getsid(0) == getpid());
  FACT(getpgrp() == getpid());
  CALL(setsid());
  CALL(setpgid(0, 0));  // nor a session's leader
  pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  CALL(setpgid(child, child));
  FACT(getpgid(child) == child);
  CALL(setpgid(child, 99999999));
  FACT(getsid(child) == getpid());
  CALL(setpgid(child, getpid()));
  FACT(getpgid(child) == getpid());
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  CALL(getpgid(child));
  CALL(getsid(child));
  CALL(setpgid(child, 0));
  return 2;
}

static int group_kill(void) {
  setpgid(0, 0);
  signal(SIGTERM, SIG_IGN);
  pid_t a = fork();
  if (a == 0) {
    signal(SIGTERM, SIG_DFL);
    for (;;) pause();
  }
  usleep(50000);
  CALL(kill(0, SIGTERM));
  int status = 0;
  FACT(waitpid(0, &status, 0) == a);
  FACT(WTERMSIG(status));
  CALL(kill(-99999999, SIGTERM));
  CALL(waitpid(-99999999, &status, 0));
  return 3;
}

int main(void) {
  CALL(getpgid(99999999));
  CALL(getsid(99999999));
  FACT(in_child(leader));
  FACT(in_child(session));
  FACT(in_child(group_kill));
  return 0;
}

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "facts.h"
// Stopping and continuing processes, what wait4 and waitid say about it, and who gets orphans.
static volatile int stops, continues, ends;
static void on_child(int s, siginfo_t* i, void* c) {
  (void)s, (void)c;
  if (i->si_code == CLD_STOPPED) stops = stops * 100 + i->si_status;
  if (i->si_code == CLD_CONTINUED) continues = continues * 100 + i->si_status;
  if (i->si_code == CLD_EXITED || i->si_code == CLD_KILLED) ends = ends * 100 + i->si_status;
}

static pid_t start(int (*what)(int), int argument) {
  fflush(stdout);
  const pid_t pid = fork();
  if (pid != 0) {
    setpgid(pid, pid);
    return pid;
  }
  setpgid(0, 0);
  _exit(what(argument));
}
static int status_after(pid_t pid, int options) {
  int status = -1;
  return waitpid(pid, &status, options) == pid ? status : -1;
}
static int wait_for_byte(int fd) {
  char c = 0;
  return read(fd, &c, 1) == 1 ? c : 99;
}
static int stop_self(int signal) {
  raise(signal);
  return 6;
}
static int compute(int unused) {
  for (volatile int go = 1; go;) {
  }
  return unused;
}
static void nothing(int s) { (void)s; }
static int catch_stop(int fd) {
  signal(SIGTSTP, nothing);
  signal(SIGTTIN, SIG_IGN);
  write(fd, "r", 1);
  pause();
  return 8;
}
static int nap(int unused) {
  (void)unused;
  const struct timespec time = {0, 100000000};
  struct timespec left;
  return nanosleep(&time, &left) == 0 ? 4 : 5;
}

static void stopping(void) {
  int ends_[2];
  pipe(ends_);
  pid_t pid = start(wait_for_byte, ends_[0]);
  CALL(status_after(pid, WUNTRACED | WNOHANG) == -1);
  CALL(kill(pid, SIGSTOP));
  FACT(status_after(pid, WUNTRACED));
  FACT(stops);
  FACT(waitpid(pid, NULL, WUNTRACED | WNOHANG));  // told once
  write(ends_[1], "\3", 1);
  usleep(50000);
  FACT(waitpid(pid, NULL, WNOHANG));  // it is stopped, whatever comes
  CALL(kill(pid, SIGCONT));
  FACT(status_after(pid, 0));
  pid = start(wait_for_byte, ends_[0]);
  kill(pid, SIGSTOP);
  FACT(status_after(pid, WUNTRACED));
  continues = 0;
  CALL(kill(pid, SIGCONT));
  FACT(status_after(pid, WCONTINUED));
  for (int i = 0; i < 300 && continues == 0; ++i) usleep(10000);
  FACT(continues);
  FACT(waitpid(pid, NULL, WCONTINUED | WNOHANG));
  write(ends_[1], "\3", 1);
  FACT(status_after(pid, 0));
  for (int i = 0; i < 3; ++i) {
    pid = start(stop_self, (int[]){SIGTSTP, SIGTTIN, SIGTTOU}[i]);
    FACT(status_after(pid, WUNTRACED));
    kill(pid, SIGCONT);
    FACT(status_after(pid, 0));
  }
  pid = start(compute, 0);
  kill(pid, SIGSTOP);
  FACT(status_after(pid, WUNTRACED));
  kill(pid, SIGTERM);  // stays pending
  usleep(20000);
  FACT(waitpid(pid, NULL, WNOHANG));
  kill(pid, SIGCONT);
  FACT(status_after(pid, 0));
  pid = start(compute, 0);
  kill(pid, SIGSTOP);
  FACT(status_after(pid, WUNTRACED));
  kill(pid, SIGKILL);  // does not
  FACT(status_after(pid, 0));
  pid = start(catch_stop, ends_[1]);
  wait_for_byte(ends_[0]);
  kill(pid, SIGTTIN);
  usleep(20000);
  FACT(waitpid(pid, NULL, WNOHANG | WUNTRACED));
  kill(pid, SIGTSTP);
  FACT(status_after(pid, WUNTRACED));
  // A call that would be interrupted by a handler does not hear of a stop.
  pid = start(nap, 0);
  kill(pid, SIGSTOP);
  FACT(status_after(pid, WUNTRACED));
  usleep(150000);
  kill(pid, SIGCONT);
  FACT(status_after(pid, 0));
}

static void* wait_in_thread(void* fd) { return (void*)(long)wait_for_byte((int)(long)fd); }
static int threads(int fd) {
  pthread_t waiting, computing;
  pthread_create(&waiting, NULL, wait_in_thread, (void*)(long)fd);
  pthread_create(&computing, NULL, (void* (*)(void*))compute, NULL);
  void* result = NULL;
  pthread_join(waiting, &result);
  return (int)(long)result;
}

static void with_waitid(void) {
  siginfo_t info = {0};
  int ends_[2];
  pipe(ends_);
  const pid_t pid = start(threads, ends_[0]);
  usleep(20000);
  kill(pid, SIGSTOP);
  CALL(waitid(P_PID, pid, &info, WSTOPPED | WNOWAIT));
  CALL(waitid(P_PID, pid, &info, WSTOPPED));
  FACT(info.si_code == CLD_STOPPED && info.si_status == SIGSTOP && info.si_pid == pid);
  CALL(waitid(P_PID, pid, &info, WSTOPPED | WNOHANG));
  FACT(info.si_pid);
  kill(pid, SIGCONT);
  CALL(waitid(P_PID, pid, &info, WCONTINUED));
  FACT(info.si_code == CLD_CONTINUED && info.si_status == SIGCONT);
  write(ends_[1], "\7", 1);
  CALL(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
  CALL(waitid(P_PID, pid, &info, WSTOPPED | WCONTINUED));  // one that has ended does neither
  CALL(waitid(P_PID, pid, &info, WEXITED));
  FACT(info.si_status);
}

// A parent that does not want to hear of stops, and one whose end leaves a stopped group alone.
static void others(void) {
  struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_NOCLDSTOP};
  sigaction(SIGCHLD, &action, NULL);
  stops = 0;
  pid_t pid = start(stop_self, SIGSTOP);
  FACT(status_after(pid, WUNTRACED));
  kill(pid, SIGCONT);
  FACT(status_after(pid, 0));
  FACT(stops);
}

static int leave_stopped_child(int fd) {
  const pid_t pid = start(stop_self, SIGSTOP);
  status_after(pid, WUNTRACED);
  write(fd, &pid, sizeof pid);
  return 2;
}
static int orphan_of(int fd) {
  const pid_t pid = fork();
  if (pid != 0) return 1;
  while (getppid() == getpgrp()) usleep(1000);  // the parent leads its group
  usleep(20000);
  write(fd, "o", 1);
  return 5;
}
static int with_death_signal(int fd) {
  int ready[2];
  char c;
  pipe(ready);
  if (fork() != 0) {
    read(ready[0], &c, 1);
    return 1;
  }
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  write(ready[1], "r", 1);
  for (;;) pause();
}
static void orphans(void) {
  int ends_[2], status = 0;
  pid_t stopped = 0;
  char c;
  pipe(ends_);
  pid_t pid = start(orphan_of, ends_[1]);
  FACT(status_after(pid, 0));
  CALL(waitpid(-1, &status, 0));
  CALL(waitpid(-1, &status, WNOHANG));
  FACT(read(ends_[0], &c, 1));
  pid = start(leave_stopped_child, ends_[1]);
  FACT(status_after(pid, 0));
  read(ends_[0], &stopped, sizeof stopped);
  for (int i = 0; i < 500 && kill(stopped, 0) == 0; ++i) usleep(10000);
  FACT(kill(stopped, 0));  // ended by the SIGHUP that it got
  int held[2];
  pipe(held);
  pid = start(with_death_signal, 0);
  FACT(status_after(pid, 0));
  close(held[1]);
  FACT(read(held[0], &c, 1));  // when the grandchild has ended, too
  CALL(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
  pid = start(orphan_of, ends_[1]);
  FACT(status_after(pid, 0));
  FACT(waitpid(-1, &status, 0) > 0);
  FACT(status);
  CALL(waitpid(-1, &status, 0));
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART};
  sigaction(SIGCHLD, &action, NULL);
  signal(SIGHUP, SIG_DFL);
  stopping();
  with_waitid();
  others();
  signal(SIGCHLD, SIG_DFL);
  orphans();
  return 0;
}

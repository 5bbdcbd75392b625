#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "facts.h"
// pidfd_open, pidfd_send_signal, CLONE_PIDFD, waitid(P_PIDFD): processes by descriptor.
#define open_pidfd(pid, flags) syscall(SYS_pidfd_open, pid, flags)
#define send_pidfd(fd, signal, info, flags) syscall(SYS_pidfd_send_signal, fd, signal, info, flags)
enum { kPidfd = 3 };

static pid_t child(void) {
  fflush(stdout);
  const pid_t pid = fork();
  if (pid != 0) return pid;
  for (;;) pause();
}
static const char* state(int fd) {
  struct pollfd polled = {fd, POLLIN};
  const int count = poll(&polled, 1, 0);
  return count == 0 ? "running" : (polled.revents & POLLIN) != 0 ? "ended" : "?";
}

static pthread_barrier_t g_both;
static void* second(void* tid) {
  *(pid_t*)tid = syscall(SYS_gettid);
  pthread_barrier_wait(&g_both);
  pthread_barrier_wait(&g_both);
  return NULL;
}
static void refused(void) {
  pthread_t thread;
  pid_t tid = 0;
  CALL(open_pidfd(0, 0));
  CALL(open_pidfd(-1, 0));
  CALL(open_pidfd(getpid(), 1));
  CALL(open_pidfd(99999999, 0));
  pthread_barrier_init(&g_both, NULL, 2);
  pthread_create(&thread, NULL, second, &tid);
  pthread_barrier_wait(&g_both);
  FACT(open_pidfd(tid, 0));
  pthread_barrier_wait(&g_both);
  pthread_join(thread, NULL);
  CALL(send_pidfd(-1, 0, NULL, 0));
  CALL(send_pidfd(1, 0, NULL, 0));
  siginfo_t info;
  CALL(waitid(kPidfd, 1, &info, WEXITED));
  CALL(waitid(kPidfd, 99, &info, WEXITED));
  CALL(waitid(kPidfd, -1, &info, WEXITED));
  const int self = open_pidfd(getpid(), 0);
  CALL(waitid(kPidfd, self, &info, WEXITED));
  CALL(fcntl(self, F_GETFD));
  CALL(fcntl(self, F_GETFL) & ~0100000);
  CALL(send_pidfd(self, 0, NULL, 0));
  CALL(send_pidfd(self, 0, NULL, 1 << 20));
  CALL(send_pidfd(self, 99, NULL, 0));
  char byte;
  CALL(read(self, &byte, 1));
  CALL(write(self, "x", 1));
  TEXT(state(self));
  close(self);
}

static volatile siginfo_t g_info;
static void noted(int signal, siginfo_t* info, void* context) { memcpy((void*)&g_info, info, sizeof *info); }

static void signalled(void) {
  const int self = open_pidfd(getpid(), 0);
  struct sigaction action = {.sa_sigaction = noted, .sa_flags = SA_SIGINFO};
  sigaction(SIGUSR1, &action, NULL);
  CALL(send_pidfd(self, SIGUSR1, NULL, 0));
  FACT(g_info.si_code == SI_USER && g_info.si_pid == getpid());
  siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
  info.si_value.sival_int = 77;
  CALL(send_pidfd(self, SIGUSR1, &info, 0));
  FACT(g_info.si_code == SI_QUEUE && g_info.si_value.sival_int == 77);
  CALL(send_pidfd(self, SIGUSR2, &info, 0));
  CALL(send_pidfd(self, SIGUSR1, (void*)8, 0));
  const pid_t pid = child();
  const int fd = open_pidfd(pid, 0);
  info.si_code = SI_USER;
  CALL(send_pidfd(fd, SIGUSR1, &info, 0));
  CALL(send_pidfd(fd, SIGKILL, NULL, 0));
  waitpid(pid, NULL, 0);
  CALL(send_pidfd(fd, SIGKILL, NULL, 0));
  CALL(send_pidfd(fd, 0, NULL, 0));
  close(fd);
  close(self);
}

static void waited(void) {
  siginfo_t info = {0};
  const pid_t pid = child();
  const int fd = open_pidfd(pid, O_NONBLOCK), e = epoll_create1(0);
  struct epoll_event event = {EPOLLIN | EPOLLET, {.u32 = 5}}, got = {0};
  CALL(fcntl(fd, F_GETFL) & O_NONBLOCK);
  CALL(epoll_ctl(e, EPOLL_CTL_ADD, fd, &event));
  CALL(epoll_wait(e, &got, 1, 0));
  TEXT(state(fd));
  CALL(waitid(kPidfd, fd, &info, WEXITED));
  CALL(waitid(kPidfd, fd, &info, WEXITED | WNOHANG));
  FACT(info.si_pid);
  kill(pid, SIGTERM);
  CALL(epoll_wait(e, &got, 1, 5000));
  FACT(got.data.u32 == 5 && (got.events & EPOLLIN) != 0);
  TEXT(state(fd));
  CALL(send_pidfd(fd, 0, NULL, 0));  // it is still to be waited for
  FACT(open_pidfd(pid, 0) >= 0);
  CALL(waitid(kPidfd, fd, &info, WEXITED | WNOWAIT));
  FACT(info.si_pid == pid && info.si_status == SIGTERM && info.si_code == CLD_KILLED);
  CALL(waitid(kPidfd, fd, &info, WEXITED));
  CALL(waitid(kPidfd, fd, &info, WEXITED));
  CALL(send_pidfd(fd, 0, NULL, 0));
  TEXT(state(fd));
  CALL(open_pidfd(pid, 0));
  close(fd);
}

static void ends_meanwhile(void) {
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    usleep(50000);
    _exit(9);
  }
  const int fd = open_pidfd(pid, 0);
  struct pollfd polled = {fd, POLLIN};
  siginfo_t info = {0};
  CALL(poll(&polled, 1, 10000));
  CALL(waitid(kPidfd, fd, &info, WEXITED));
  FACT(info.si_status);
  close(fd);
}

static void cloned(void) {
  int fd = -1;
  siginfo_t info = {0};
  fflush(stdout);
  struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uint64_t)&fd, .exit_signal = SIGCHLD};
  const long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) _exit(fcntl(3, F_GETFD) == -1 ? 6 : 7);  // which has none itself
  FACT(fd);
  CALL(fcntl(fd, F_GETFD));
  CALL(waitid(kPidfd, fd, &info, WEXITED));
  FACT(info.si_pid == pid && info.si_status == 6);
  close(fd);
  fd = -1;
  const long other = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, &fd, NULL, NULL);
  if (other == 0) _exit(5);
  FACT(fd);
  CALL(waitid(kPidfd, fd, &info, WEXITED));
  FACT(info.si_status);
  close(fd);
  CALL(syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, NULL, &fd, NULL, NULL));
  CALL(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, (void*)8, NULL, NULL));
  struct rlimit limit = {3, 100}, old;
  getrlimit(RLIMIT_NOFILE, &old);
  limit.rlim_max = old.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  CALL(syscall(SYS_clone3, &args, sizeof args));
  CALL(open_pidfd(getpid(), 0));
  setrlimit(RLIMIT_NOFILE, &old);
  CALL(wait(NULL));  // no child was left behind
}

static void shown(void) {
  char path[64], text[256] = "", expected[32];
  const pid_t pid = child();
  const int fd = open_pidfd(pid, 0);
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  int info = open(path, O_RDONLY);
  read(info, text, sizeof text - 1);
  snprintf(expected, sizeof expected, "\nPid:\t%d\n", pid);
  FACT(strstr(text, expected) != NULL);
  close(info);
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  memset(text, 0, sizeof text);
  info = open(path, O_RDONLY);
  read(info, text, sizeof text - 1);
  FACT(strstr(text, "\nPid:\t-1\n") != NULL);
}

int main(void) {
  refused();
  signalled();
  waited();
  ends_meanwhile();
  cloned();
  shown();
  return 0;
}

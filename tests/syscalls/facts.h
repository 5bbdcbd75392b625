// What every case prints with: one line per fact. The same binary runs natively and inside; the lines must be
// equal, so nothing that depends on machine, time or address may be printed.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// The call, its result, and errno by name when it failed.
#define CALL(expression)                                                                         \
  do {                                                                                           \
    errno = 0;                                                                                   \
    const long long result_ = (long long)(expression);                                           \
    printf("%s = %lld %s\n", #expression, result_, result_ == -1 ? strerrorname_np(errno) : ""); \
  } while (0)
// Only whether it worked: for results that differ between machines.
#define WORKS(expression)                                                             \
  do {                                                                                \
    errno = 0;                                                                        \
    const long long result_ = (long long)(expression);                                \
    printf("%s %s\n", #expression, result_ == -1 ? strerrorname_np(errno) : "works"); \
  } while (0)
#define FACT(expression) printf("%s: %lld\n", #expression, (long long)(expression))
#define TEXT(expression) printf("%s: %s\n", #expression, (expression))

// A new, empty working folder in $TMPDIR or /tmp.
static inline void scratch(void) {
  static char path[256];
  const char* parent = getenv("TMPDIR");
  snprintf(path, sizeof(path), "%s/syscall-case-XXXXXX", parent != NULL ? parent : "/tmp");
  if (mkdtemp(path) == NULL || chdir(path) != 0) abort();
}
static inline void put_file(const char* name, const char* content) {
  const int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || write(fd, content, strlen(content)) != (ssize_t)strlen(content)) abort();
  close(fd);
}
static inline int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// A user who has this process alone: limits that count what a user has (RLIMIT_NPROC, RLIMIT_SIGPENDING)
// also count that of cases that run beside this one.
static inline int become_alone(void) {
  const uid_t alone = 20000 + (uid_t)getpid() % 40000;
  return setresuid(alone, alone, alone);
}

// A forked child that does something first, stays while its parent does something, and then goes on.
static int meeting_ready_[2], meeting_go_[2];
static inline pid_t fork_to_meet(void) {
  if (pipe(meeting_ready_) != 0 || pipe(meeting_go_) != 0) abort();
  fflush(stdout);
  const pid_t pid = fork();
  close(pid == 0 ? meeting_go_[1] : meeting_ready_[1]);
  return pid;
}
// In the child: its parent goes on now; returns when the parent lets it go.
static inline void meet_parent(void) {
  char byte;
  if (write(meeting_ready_[1], "x", 1) != 1 || read(meeting_go_[0], &byte, 1) != 0) abort();
}
// In the parent: returns when the child is at meet_parent().
static inline void meet_child(void) {
  char byte;
  if (read(meeting_ready_[0], &byte, 1) != 1) abort();
}
// In the parent: the child goes on; returns when it has ended.
static inline void let_child_go(void) {
  fflush(stdout);
  close(meeting_go_[1]);
  wait(NULL);
  close(meeting_go_[0]);
  close(meeting_ready_[0]);
}

// Two connected ends over the loopback interface; s[0] has connected, s[1] was accepted.
static inline void tcp_pair(int s[2]) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof(a);
  int l = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(l, (struct sockaddr*)&a, size) != 0 || listen(l, 5) != 0) abort();
  getsockname(l, (struct sockaddr*)&a, &size);
  s[0] = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(s[0], (struct sockaddr*)&a, size) != 0) abort();
  s[1] = accept(l, NULL, NULL);
  close(l);
}

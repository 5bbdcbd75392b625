#include <asm/prctl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/wait.h>
#include "facts.h"
// What belongs to a process or thread: its break, segment bases, personality, robust list, ids; execve; and
// what only the machine's owner may change.
static void program_break(void) {
  printf("-- the program break\n");  // whatever printf needs it has now
  char* start = (char*)syscall(SYS_brk, 0);
  FACT(syscall(SYS_brk, start + 10000) == (long)(start + 10000));
  start[0] = 1, start[9999] = 2;
  FACT(start[5000]);
  FACT(syscall(SYS_brk, start + 100) == (long)(start + 100));
  FACT(start[0]);
  FACT(syscall(SYS_brk, start + 20000) == (long)(start + 20000));
  FACT(start[9999]);  // the page had gone
  FACT(start[19999]);
  FACT(syscall(SYS_brk, 1L) == (long)(start + 20000));
  FACT(syscall(SYS_brk, -1L) == (long)(start + 20000));
  FACT(syscall(SYS_brk, start) == (long)start);
}

static void bases(void) {
  unsigned long base = 0;
  CALL(syscall(SYS_arch_prctl, ARCH_GET_FS, &base));
  FACT(base == (unsigned long)pthread_self());
  CALL(syscall(SYS_arch_prctl, ARCH_SET_FS, base));
  CALL(syscall(SYS_arch_prctl, ARCH_SET_FS, 0x8000000000000000));
  CALL(syscall(SYS_arch_prctl, 0x9999, 0));
  CALL(syscall(SYS_arch_prctl, ARCH_GET_FS, NULL));
  CALL(personality(0xffffffff));
  CALL(personality(0));
  CALL(personality(0xffffffff));
}

static void* robust(void* unused) {
  struct robust_list_head* head = NULL;
  size_t size = 0;
  CALL(syscall(SYS_get_robust_list, 0, &head, &size));
  FACT(size);
  FACT(head != NULL);
  struct robust_list_head* same = NULL;
  CALL(syscall(SYS_get_robust_list, gettid(), &same, &size));
  FACT(same == head);
  CALL(syscall(SYS_get_robust_list, 99999999, &same, &size));
  CALL(syscall(SYS_get_robust_list, 0, NULL, &size));
  CALL(syscall(SYS_set_robust_list, head, 5L));
  CALL(syscall(SYS_set_robust_list, head, 24L));
  return unused;
}

static void signals(void) {
  sigset_t set;
  siginfo_t info = {0};
  struct signalfd_siginfo got;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int fd;
  CALL(fd = syscall(SYS_signalfd4, -1, &set, 8L, SFD_NONBLOCK | SFD_CLOEXEC));
  CALL(syscall(SYS_signalfd4, -1, &set, 7L, 0));
  CALL(syscall(SYS_signalfd4, -1, &set, 8L, 1));
  CALL(syscall(SYS_signalfd4, 0, &set, 8L, 0));
  CALL(syscall(SYS_signalfd4, fd, NULL, 8L, 0));
  info.si_code = SI_QUEUE;
  info.si_value.sival_int = 42;
  CALL(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGUSR2, &info));
  CALL(read(fd, &got, sizeof(got)));
  FACT(got.ssi_int);
  FACT(got.ssi_code);
  CALL(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), 99, &info));
  CALL(syscall(SYS_rt_tgsigqueueinfo, getpid(), 99999999, SIGUSR2, &info));
  CALL(syscall(SYS_rt_tgsigqueueinfo, -1, gettid(), SIGUSR2, &info));
  CALL(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), 0, &info));
  close(fd);
}

static void executing(void) {
  char* no_arguments[] = {NULL};
  CALL(execve("/nothing", no_arguments, no_arguments));
  CALL(execve("/", no_arguments, no_arguments));
  CALL(execve("", no_arguments, no_arguments));
  CALL(execve(NULL, no_arguments, no_arguments));
  put_file("text", "not a program");
  CALL(execve("text", no_arguments, no_arguments));
  chmod("text", 0755);
  CALL(execve("text", no_arguments, no_arguments));
  put_file("script", "#!/nothing/at/all\n");
  chmod("script", 0755);
  CALL(execve("script", no_arguments, no_arguments));
  CALL(execve("script/below", no_arguments, no_arguments));
  symlink("loop", "loop");
  CALL(execve("loop", no_arguments, no_arguments));
  CALL(execve("/proc/self/exe", (char**)1, no_arguments));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    char* words[] = {"cases", "processes_none", NULL};
    execve("/proc/self/exe", words, no_arguments);
    _exit(99);
  }
  int status = 0;
  waitpid(child, &status, 0);
  FACT(WEXITSTATUS(status));
}

// After this nothing that needs rights is left.
static void for_owners_only(void) {
  struct timeval time = {1000000000, 0};
  struct timespec spec = {1000000000, 0};
  if (setgid(65534) != 0 || setuid(65534) != 0) printf("an ordinary user\n");
  if (geteuid() == 0) abort();
  CALL(settimeofday(&time, NULL));
  CALL(clock_settime(CLOCK_REALTIME, &spec));
  CALL(clock_settime(CLOCK_MONOTONIC, &spec));
  CALL(sethostname("other", 5));
  CALL(setdomainname("other", 5));
}

static void ids(void) {
  CALL(setregid(-1, -1));
  CALL(setreuid(-1, -1));
  CALL(syscall(SYS_setfsgid, -1) == getegid());
  CALL(syscall(SYS_setfsuid, -1) == geteuid());
  CALL(mknodat(AT_FDCWD, "node", S_IFREG | 0640, 0));
  CALL(mknodat(AT_FDCWD, "node", S_IFREG | 0640, 0));
  CALL(mknodat(99, "other", S_IFREG | 0640, 0));
  CALL(mknodat(AT_FDCWD, "folder", S_IFDIR | 0750, 0));
  CALL(syscall(SYS_faccessat2, AT_FDCWD, "node", R_OK | W_OK, AT_EACCESS));
  CALL(syscall(SYS_faccessat2, AT_FDCWD, "node", X_OK, 0));
  CALL(syscall(SYS_faccessat2, AT_FDCWD, "node", 8, 0));
  CALL(syscall(SYS_faccessat2, AT_FDCWD, "node", F_OK, 0x8000));
  CALL(syscall(SYS_faccessat2, AT_FDCWD, "none", F_OK, AT_SYMLINK_NOFOLLOW));
  int fd = open("node", O_RDONLY);
  CALL(syscall(SYS_faccessat2, fd, "", F_OK, AT_EMPTY_PATH));
  CALL(syscall(SYS_faccessat2, fd, "", F_OK, 0));
  CALL(syscall(SYS_faccessat2, fd, "below", F_OK, 0));
  close(fd);
}

int main(void) {
  pthread_t t;
  scratch();
  program_break();
  bases();
  pthread_create(&t, NULL, robust, NULL);
  pthread_join(t, NULL);
  static int word;  // of the first thread, which nobody joins
  FACT(syscall(SYS_set_tid_address, &word) == getpid());
  signals();
  executing();
  ids();
  for_owners_only();
  return 0;
}

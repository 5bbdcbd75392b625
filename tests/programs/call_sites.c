// What a program can see of its own system calls, whichever way they reach the kernel: registers, flags, the
// red zone, jumps to a `syscall`, and where a signal handler says that it was interrupted. Prints the same
// lines natively and inside; run by call_sites_test.sh.
#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

// Sets every register and the red zone, runs SITE, stores what is there afterwards.
struct state {
  uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, flags, xmm0[2];
  uint64_t red_low, red_high, expected_rcx, rsp_before;
};

#define SITE_FUNCTION(name, load)                                                                            \
  __attribute__((naked, noinline)) static void name(struct state* out __attribute__((unused))) {             \
    __asm__(                                                                                                 \
        "push %%rbx\n push %%rbp\n push %%r12\n push %%r13\n push %%r14\n push %%r15\n push %%rdi\n"         \
        "mov %%rsp, 176(%%rdi)\n"                                                                            \
        "movq $0x1111, -16(%%rsp)\n movq $0x2222, -128(%%rsp)\n"                                             \
        "mov $0x33, %%ebx\n mov $0x44, %%edx\n mov $0x55, %%esi\n mov $0x66, %%edi\n mov $0x77, %%ebp\n"     \
        "mov $0x88, %%r9d\n mov $0x99, %%r10d\n mov $0xaa, %%r12d\n mov $0xbb, %%r13d\n mov $0xcc, %%r14d\n" \
        "mov $0xdd, %%r15d\n mov $110, %%r8d\n movq %%r15, %%xmm0\n mov $1, %%ecx\n cmp $2, %%ecx\n" load    \
        "\n"                                                                                                 \
        "syscall\n"                                                                                          \
        "9: push %%rdi\n mov 8(%%rsp), %%rdi\n"                                                              \
        "mov %%rax, 0(%%rdi)\n mov %%rbx, 8(%%rdi)\n mov %%rcx, 16(%%rdi)\n mov %%rdx, 24(%%rdi)\n"          \
        "mov %%rsi, 32(%%rdi)\n mov %%rbp, 48(%%rdi)\n mov %%r8, 64(%%rdi)\n mov %%r9, 72(%%rdi)\n"          \
        "mov %%r10, 80(%%rdi)\n mov %%r11, 88(%%rdi)\n mov %%r12, 96(%%rdi)\n mov %%r13, 104(%%rdi)\n"       \
        "mov %%r14, 112(%%rdi)\n mov %%r15, 120(%%rdi)\n movups %%xmm0, 136(%%rdi)\n"                        \
        "pop %%rax\n mov %%rax, 40(%%rdi)\n mov %%rsp, 56(%%rdi)\n"                                          \
        "mov -128(%%rsp), %%rax\n mov %%rax, 152(%%rdi)\n mov -16(%%rsp), %%rax\n mov %%rax, 160(%%rdi)\n"   \
        "lea 9b(%%rip), %%rax\n mov %%rax, 168(%%rdi)\n"                                                     \
        "pop %%rdi\n pop %%r15\n pop %%r14\n pop %%r13\n pop %%r12\n pop %%rbp\n pop %%rbx\n ret\n" ::       \
            : "memory");                                                                                     \
  }
// getppid is 110
SITE_FUNCTION(five_bytes, "mov $110, %%eax")
SITE_FUNCTION(three_bytes, "mov %%r8, %%rax")
SITE_FUNCTION(four_bytes, "lea 0(%%r8), %%rax\n .byte 0x48, 0x8d, 0x40, 0x00")
SITE_FUNCTION(seven_bytes, "mov $110, %%rax")
SITE_FUNCTION(two_bytes, "mov $110, %%ecx\n .p2align 4\n jmp 8f\n .p2align 4\n 8: mov %%ecx, %%eax")
SITE_FUNCTION(to_the_syscall, "mov $110, %%eax\n jmp 8f\n mov $39, %%eax\n 8:")

static void check(const char* name, void (*site)(struct state*)) {
  struct state s;
  memset(&s, 0, sizeof(s));
  site(&s);
  const int kept = s.rbx == 0x33 && s.rdx == 0x44 && s.rsi == 0x55 && s.rdi == 0x66 && s.rbp == 0x77 &&
                   s.r8 == 110 && s.r9 == 0x88 && s.r10 == 0x99 && s.r12 == 0xaa && s.r13 == 0xbb &&
                   s.r14 == 0xcc && s.r15 == 0xdd && s.xmm0[0] == 0xdd;
  // CF and SF of 1 - 2 are in r11, as `syscall` leaves the flags there.
  printf("%s: result %d, registers %d, rcx %d, flags %d, red zone %d, stack %d\n", name,
         s.rax == (uint64_t)getppid(), kept, s.rcx == s.expected_rcx, (s.r11 & 0x81) == 0x81,
         s.red_low == 0x2222 && s.red_high == 0x1111, s.rsp == s.rsp_before);
}

// ---- where signals interrupt: only code of the program and its libraries
struct range {
  uintptr_t begin, end;
};
static struct range code[64];
static int code_count;
static int add_code(struct dl_phdr_info* info, size_t size, void* unused) {
  (void)size, (void)unused;
  for (int i = 0; i < info->dlpi_phnum && code_count < 64; ++i) {
    const ElfW(Phdr)* h = &info->dlpi_phdr[i];
    if (h->p_type != PT_LOAD || (h->p_flags & PF_X) == 0) continue;
    code[code_count].begin = info->dlpi_addr + h->p_vaddr;
    code[code_count++].end = info->dlpi_addr + h->p_vaddr + h->p_memsz;
  }
  return 0;
}

static volatile long hits, strange, stop, loops;
static void handler(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)info;
  const uintptr_t pc = (uintptr_t)((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
  int found = 0;
  for (int i = 0; i < code_count; ++i) found |= pc >= code[i].begin && pc < code[i].end;
  if (!found) ++strange;
  ++hits;
}

static void* caller(void* unused) {
  struct state s;
  while (!stop) {
    getppid();
    three_bytes(&s);
    four_bytes(&s);
    ++loops;
  }
  return unused;
}

static void interrupt_a_caller(void) {
  dl_iterate_phdr(add_code, NULL);
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaction(SIGUSR1, &action, NULL);
  pthread_t thread;
  pthread_create(&thread, NULL, caller, NULL);
  while (loops == 0) usleep(100);
  for (int i = 0; i < 300; ++i) {
    const long before = hits;
    pthread_kill(thread, SIGUSR1);
    while (hits == before) usleep(20);
  }
  stop = 1;
  pthread_join(thread, NULL);
  printf("signals: %ld, at strange places: %ld\n", hits, strange);
}

// ---- cancellation compares the interrupted address with labels around a `syscall` (musl) or marks the
// thread
static int ends[2];
static void* reader(void* unused) {
  char byte;
  while (read(ends[0], &byte, 1) >= 0) continue;
  return unused;
}
static void* sleeper(void* unused) {
  for (;;) usleep(50);
  return unused;
}

static void cancel_threads(void) {
  int cancelled = 0;
  if (pipe(ends) != 0) abort();
  for (int i = 0; i < 100; ++i) {
    pthread_t thread;
    void* result;
    pthread_create(&thread, NULL, i % 2 == 0 ? reader : sleeper, NULL);
    if (i % 3 != 0) usleep(100);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    cancelled += result == PTHREAD_CANCELED;
  }
  printf("cancelled: %d\n", cancelled);
}

int main(void) {
  check("five bytes", five_bytes);
  check("three bytes", three_bytes);
  check("four bytes", four_bytes);
  check("seven bytes", seven_bytes);
  check("two bytes", two_bytes);
  check("a jump to the syscall", to_the_syscall);
  interrupt_a_caller();
  cancel_threads();
  return 0;
}

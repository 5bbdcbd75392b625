#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include "facts.h"
// Vector registers, masks, MXCSR and x87 over system calls that stay in the kernel, that leave the enclave,
// and that a signal's handler interrupts, in each combination of what is in use.
struct state {
  uint8_t zmm[32][64];
  uint64_t k[8];
  uint32_t mxcsr;
  uint16_t control, pad;
} __attribute__((aligned(64)));
static struct state before, after;
static long arguments[7];
static uint8_t x87[512] __attribute__((aligned(16)));
static long double x87_in = 3.25L, x87_out;

#define ALL(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)
#define REST(M) \
  M(16) M(17) M(18) M(19) M(20) M(21) M(22) M(23) M(24) M(25) M(26) M(27) M(28) M(29) M(30) M(31)
#define MASKS(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)
#define LOAD_XMM(n) "movdqa 64*" #n "(%%rbx), %%xmm" #n "\n\t"
#define STORE_XMM(n) "movdqa %%xmm" #n ", 64*" #n "(%%r12)\n\t"
#define LOAD_YMM(n) "vmovdqa 64*" #n "(%%rbx), %%ymm" #n "\n\t"
#define STORE_YMM(n) "vmovdqa %%ymm" #n ", 64*" #n "(%%r12)\n\t"
#define LOAD_ZMM(n) "vmovdqa64 64*" #n "(%%rbx), %%zmm" #n "\n\t"
#define STORE_ZMM(n) "vmovdqa64 %%zmm" #n ", 64*" #n "(%%r12)\n\t"
#define LOAD_K(n) "kmovq 2048+8*" #n "(%%rbx), %%k" #n "\n\t"
#define STORE_K(n) "kmovq %%k" #n ", 2048+8*" #n "(%%r12)\n\t"
#define CALL_IT                                                                                   \
  "mov (%%r13), %%rax\n\tmov 8(%%r13), %%rdi\n\tmov 16(%%r13), %%rsi\n\tmov 24(%%r13), %%rdx\n\t" \
  "mov 32(%%r13), %%r10\n\tmov 40(%%r13), %%r8\n\tmov 48(%%r13), %%r9\n\tsyscall\n\tmov %%rax, (%%r13)\n\t"
#define SITE(name, load, store)                                                                 \
  __attribute__((noinline)) static void name(void) {                                                    \
    register struct state* in __asm__("rbx") = &before;                                                 \
    register struct state* out __asm__("r12") = &after;                                                 \
    register long* a __asm__("r13") = arguments;                                                        \
    __asm__ volatile("ldmxcsr 2112(%%rbx)\n\t" load CALL_IT store "stmxcsr 2112(%%r12)\n\t"             \
                     : "+r"(in), "+r"(out), "+r"(a)                                                     \
                     :                                                                                  \
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "xmm0",   \
                       "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
                       "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");                                    \
  }
SITE(with_sse, ALL(LOAD_XMM), ALL(STORE_XMM))
SITE(with_avx, ALL(LOAD_YMM), ALL(STORE_YMM) "vzeroupper\n\t")
SITE(with_upper_registers, "vzeroall\n\t" REST(LOAD_ZMM) ALL(LOAD_XMM), ALL(STORE_XMM) REST(STORE_ZMM))
SITE(with_masks, "vzeroall\n\t" MASKS(LOAD_K) ALL(LOAD_XMM), ALL(STORE_XMM) MASKS(STORE_K))
SITE(with_all, ALL(LOAD_ZMM) REST(LOAD_ZMM) MASKS(LOAD_K),
     ALL(STORE_ZMM) REST(STORE_ZMM) MASKS(STORE_K) "vzeroupper\n\t")

// What each of them keeps: bytes of the first sixteen, of the others, and of the masks.
static const struct kind {
  void (*call)(void);
  int low, high, masks, needs;  // 1: AVX, 2: AVX-512
} kinds[] = {{with_sse, 16, 0, 0, 0},
             {with_avx, 32, 0, 0, 1},
             {with_upper_registers, 16, 64, 0, 2},
             {with_masks, 16, 0, 8, 2},
             {with_all, 64, 64, 8, 2}};

static int level;
static void dirty(int number) {
  (void)number;
  if (level == 2) {
    __asm__ volatile(
        "vpternlogd $0xff, %%zmm3, %%zmm3, %%zmm3; vpternlogd $0xff, %%zmm30, %%zmm30, %%zmm30;"
        "kxnorq %%k3, %%k3, %%k3; vzeroupper" ::
            : "xmm3");
  }
  __asm__ volatile("pcmpeqd %%xmm3, %%xmm3; pcmpeqd %%xmm9, %%xmm9; fninit; fldpi" ::: "xmm3", "xmm9");
  const uint32_t other = 0x1f80 | 0x2000;
  __asm__ volatile("ldmxcsr %0" ::"m"(other));
}

static int kept(const struct kind* kind, long number, long a, long b, long c, long d, long result) {
  const long all[7] = {number, a, b, c, d, 0, 0};
  memcpy(arguments, all, sizeof(all));
  memset(&after, 0, sizeof(after));
  for (size_t i = 0; i < sizeof(before.zmm); ++i) ((uint8_t*)before.zmm)[i] = (uint8_t)(i * 7 + i / 64 + 1);
  for (int i = 0; i < 8; ++i) before.k[i] = 0x0123456789abcdefull * (uint64_t)(i + 1);
  before.mxcsr = 0x1f80 | 0x6000 | 0x8001;  // rounds to zero, flushes to zero, a sticky flag
  kind->call();
  const uint32_t initial = 0x1f80;
  __asm__ volatile("ldmxcsr %0" ::"m"(initial));
  int same = after.mxcsr == before.mxcsr && (result > 0 || arguments[0] == result);
  for (int i = 0; i < 32; ++i) {
    const size_t size = (size_t)(i < 16 ? kind->low : kind->high);
    same &= memcmp(before.zmm[i], after.zmm[i], size) == 0;
  }
  return same & (memcmp(before.k, after.k, (size_t)kind->masks * 8) == 0);
}

static void all_kinds(const char* what, int s) {
  for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); ++i) {
    if (kinds[i].needs > level) {  // the same lines on every machine
      printf("%s %zu: 1 1 1\n", what, i);
      continue;
    }
    char byte;
    const int inside = kept(&kinds[i], SYS_getppid, 0, 0, 0, 0, 1);
    const int outside = kept(&kinds[i], SYS_recvfrom, s, (long)&byte, 1, MSG_DONTWAIT, -EAGAIN);
    const struct itimerval soon = {{0, 3000}, {0, 3000}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &soon, NULL);
    const struct timespec long_time = {2, 0};
    const int interrupted = kept(&kinds[i], SYS_nanosleep, (long)&long_time, 0, 0, 0, -EINTR);
    setitimer(ITIMER_REAL, &never, NULL);
    printf("%s %zu: %d %d %d\n", what, i, inside, outside, interrupted);
  }
}

int main(void) {
  level = __builtin_cpu_supports("avx512bw") ? 2 : __builtin_cpu_supports("avx2") ? 1 : 0;
  const int s = socket(AF_INET, SOCK_DGRAM, 0);
  signal(SIGALRM, dirty);
  all_kinds("x87 not used", s);
  uint16_t control_after = 0;
  char byte;
  CALL(recv(s, &byte, 1, MSG_DONTWAIT));
  __asm__ volatile("fxsave64 %0" : "=m"(x87));
  FACT(x87[0] | x87[1] << 8);       // the control word
  FACT(x87[4]);                     // which registers have something
  const uint16_t control = 0x0f7f;  // rounds to zero, all masked
  __asm__ volatile("fninit; fldcw %0; fldt %1" ::"m"(control), "m"(x87_in));
  all_kinds("x87 used", s);
  __asm__ volatile("fstpt %0; fnstcw %1" : "=m"(x87_out), "=m"(control_after));
  FACT(x87_out == x87_in);
  FACT(control_after);
  return 0;
}

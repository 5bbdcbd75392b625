// Entering and leaving with a function in the place of the vDSO's that keeps its rules: arguments and frame
// as <asm/sgx.h> says, EEXIT or an exception as the script wants, or "inside", where a signal finds RIP at
// the ENCLU and RAX = ERESUME. What a CPU does is not shown by this: it has not been run on SGX hardware.
#include "host/hw/entry.h"

#include <gtest/gtest.h>
#include <ucontext.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <thread>
#include <vector>

extern "C" {
int fake_script(uint32_t function, sgx_enclave_run* run, uint64_t rdi, uint64_t frame);
uint64_t fake_reason = 0;
uint32_t fake_function = 0;
uint32_t fake_direct =
    0;  // ERESUME is inside at once, without the script: no call on the way, as in the vDSO
extern const char fake_vdso[], fake_enclu[], fake_end[], hw_resume[], hw_called[];
}

__asm__(R"(
  .text
  .globl fake_vdso
fake_vdso:
  push %rbp
  mov %rsp, %rbp
  push %rbx
  push %rcx
  cmp $3, %ecx
  jne 5f
  cmpl $0, fake_direct(%rip)
  jne 3f
5:
  mov %rdi, %rdx
  mov %ecx, %edi
  mov 16(%rbp), %rsi
  mov %rbp, %rcx
  call fake_script
  cmp $2, %eax
  je 3f
  cmp $1, %eax
  je 2f
  cmp $0, %eax
  je 4f
  ud2
3:
  mov 16(%rbp), %rcx
  mov (%rcx), %rbx
  mov $3, %eax
  .globl fake_enclu
fake_enclu:
  jmp fake_enclu
4:
  mov 16(%rbp), %rbx
  movl $4, 8(%rbx)
  mov $0x5a5a, %r12d
  mov %r12, %r13
  mov %r12, %r14
  mov %r12, %r15
  std
1:
  mov fake_reason(%rip), %rdi
  xor %eax, %eax
  mov -8(%rbp), %rbx
  leave
  ret
2:
  mov 16(%rbp), %rbx
  mov fake_function(%rip), %eax
  mov %eax, 8(%rbx)
  movw $6, 12(%rbx)
  jmp 1b
  .globl fake_end
fake_end:
)");

namespace cloister::host {
namespace {

enum Action { kExit = 0, kException = 1, kInside = 2 };
constexpr uint64_t kHostCall = 1, kResume = 2;

struct Step {
  uint32_t function;
  uint64_t rdi, frame;
};

class EntryTest : public testing::Test {
 public:
  static EntryTest* current;
  // What the enclave does at a call; the default: an exit for a host call, "Resume" at a look.
  std::function<int(uint32_t function, size_t call)> script;
  std::vector<Step> steps;
  std::atomic<size_t> calls{0};

 protected:
  EntryTest() {
    current = this;
    fake_function = HW_ERESUME;
    const SgxEntry entry{reinterpret_cast<uint64_t>(fake_vdso), reinterpret_cast<uint64_t>(fake_enclu)};
    hw_install_handlers();
    thread_ = hw_thread_begin(entry, 0xE10001000, 3, frame_.get());
  }
  ~EntryTest() override { hw_thread_end(thread_); }

  static int leave(uint64_t reason) {
    fake_reason = reason;
    return kExit;
  }
  std::vector<uint32_t> functions() const {
    std::vector<uint32_t> out;
    for (const Step& step : steps) out.push_back(step.function);
    return out;
  }
  // Every call at one place of the stack.
  bool same_frames() const {
    for (const Step& step : steps) {
      if (step.frame != steps[0].frame) return false;
    }
    return true;
  }

  std::unique_ptr<boundary::HostCallFrame> frame_ = std::make_unique<boundary::HostCallFrame>();
  HwThread* thread_;
};
EntryTest* EntryTest::current = nullptr;

using Functions = std::vector<uint32_t>;

TEST_F(EntryTest, ReturnsWhyTheEnclaveLeft) {
  script = [](uint32_t, size_t) { return leave(kHostCall); };
  EXPECT_EQ(hw_enter(thread_), kHostCall);
  EXPECT_EQ(functions(), Functions({HW_EENTER}));
  EXPECT_EQ(steps[0].rdi, reinterpret_cast<uint64_t>(frame_.get()));
  EXPECT_EQ(thread_->run.tcs, 0xE10001000U);
  EXPECT_EQ(thread_->stage, uint64_t{HW_OUTSIDE});
}

TEST_F(EntryTest, ShowsAnExceptionAndResumes) {
  script = [](uint32_t, size_t call) -> int {
    if (call == 0 || call == 2) return kException;
    return leave(call == 1 || call == 3 ? kResume : kHostCall);
  };
  EXPECT_EQ(hw_enter(thread_), kHostCall);
  EXPECT_EQ(functions(), Functions({HW_EENTER, HW_EENTER, HW_ERESUME, HW_EENTER, HW_ERESUME}));
  EXPECT_TRUE(same_frames());
}

TEST_F(EntryTest, ShowsASignalThatComesInside) {
  script = [](uint32_t function, size_t call) -> int {
    if (call == 0) return kInside;
    return leave(function == HW_ERESUME ? kHostCall : kResume);
  };
  const pid_t process = getpid(), tid = thread_->host.tid;
  std::thread sender([&] {
    while (calls.load() == 0) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    tgkill(process, tid, SIGTERM);
  });
  EXPECT_EQ(hw_enter(thread_), kHostCall);
  sender.join();
  EXPECT_EQ(functions(), Functions({HW_EENTER, HW_EENTER, HW_ERESUME}));
  EXPECT_EQ(frame_->events, uint64_t{1} << (SIGTERM - 1));
  EXPECT_TRUE(same_frames());
}

// One that comes besides an exception, or during the look, gets a look of its own.
TEST_F(EntryTest, ShowsASignalBesideAnException) {
  script = [this](uint32_t function, size_t call) -> int {
    if (call == 0) {
      raise(kick_signal());
      return kException;
    }
    return leave(function == HW_ERESUME ? kHostCall : kResume);
  };
  EXPECT_EQ(hw_enter(thread_), kHostCall);
  EXPECT_EQ(functions(), Functions({HW_EENTER, HW_EENTER, HW_EENTER, HW_ERESUME}));
}

TEST_F(EntryTest, ShowsASignalThatComesDuringALook) {
  script = [](uint32_t function, size_t call) -> int {
    if (call == 0) return kException;
    if (call == 1) raise(kick_signal());
    return leave(function == HW_ERESUME ? kHostCall : kResume);
  };
  EXPECT_EQ(hw_enter(thread_), kHostCall);
  EXPECT_EQ(functions(), Functions({HW_EENTER, HW_EENTER, HW_EENTER, HW_ERESUME}));
  EXPECT_TRUE(same_frames());
}

// The enclave runs for ever and only a look ends the wait: each kick must lead to one, whenever it comes.
// Kicks come at random moments after the resume before, so they meet every instruction on the way in.
TEST_F(EntryTest, NoKickIsLost) {
  constexpr size_t kKicks = 1'000;
  std::atomic<size_t> looks{0};
  script = [&](uint32_t function, size_t call) -> int {
    if (call == 0) return kException;  // the first look, from which on only resumes follow
    if (function == HW_ERESUME) return leave(kHostCall);
    fake_direct = looks.fetch_add(1) + 1 < kKicks ? 1 : 0;
    return leave(kResume);
  };
  std::atomic<bool> lost{false};
  std::thread sender([&] {
    std::mt19937 random(1);
    while (looks.load() == 0) std::this_thread::yield();
    while (looks.load() < kKicks) {
      const size_t before = looks.load();
      for (uint32_t i = random() % 2000; i > 0; --i) __asm__ volatile("");
      kick(thread_->host);
      const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(5);
      while (looks.load() == before) {
        if (std::chrono::steady_clock::now() < limit) continue;
        lost = true;
        kick(thread_->host);  // so that the test ends
        break;
      }
    }
  });
  EXPECT_EQ(hw_enter(thread_), kHostCall);
  sender.join();
  EXPECT_FALSE(lost);
  EXPECT_TRUE(same_frames());
}

// The same at every single instruction on the way in: the thread is stepped from the look on, and the kick
// becomes pending at the n-th step.
struct Stepper {
  std::atomic<size_t> at{0}, steps{0};
  std::atomic<bool> kicked{false}, inside{false};
} g_stepper;

void on_step(int, siginfo_t*, void* raw) {
  constexpr greg_t kTrapFlag = 0x100;
  auto& g = static_cast<ucontext_t*>(raw)->uc_mcontext.gregs;
  const auto rip = static_cast<uint64_t>(g[REG_RIP]);
  const auto within = [rip](const char* begin, const char* end) {
    return rip >= reinterpret_cast<uint64_t>(begin) && rip < reinterpret_cast<uint64_t>(end);
  };
  g[REG_EFL] |= kTrapFlag;
  if (!within(hw_resume, hw_called) && !within(fake_vdso, fake_end)) return;
  if (g_stepper.steps.fetch_add(1) != g_stepper.at) return;
  g_stepper.inside = rip == reinterpret_cast<uint64_t>(fake_enclu);
  g_stepper.kicked = true;
  g[REG_EFL] &= ~kTrapFlag;
  raise(kick_signal());  // blocked until this handler returns
}

TEST_F(EntryTest, AKickAtAnyInstructionOnTheWayInIsShown) {
  struct sigaction action {
  }, before{};
  action.sa_sigaction = on_step;
  action.sa_flags = SA_SIGINFO;
  sigfillset(&action.sa_mask);
  sigaction(SIGTRAP, &action, &before);
  size_t at = 0;
  for (bool inside = false; !inside && at < 1000; ++at) {
    g_stepper.at = at;
    g_stepper.steps = 0;
    g_stepper.kicked = false;
    steps.clear();
    calls = 0;
    std::atomic<bool> shown{false}, lost{false};
    script = [&](uint32_t function, size_t call) -> int {
      if (call == 0) return kException;
      if (function == HW_ERESUME) return leave(kHostCall);
      fake_direct = call == 1 ? 1 : 0;
      if (call == 1) raise(SIGTRAP);
      if (call == 2) shown = true;
      return leave(kResume);
    };
    std::thread watch([&] {
      const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(2);
      while (!shown && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
      lost = !shown;
      if (lost) kick(thread_->host);
    });
    EXPECT_EQ(hw_enter(thread_), kHostCall);
    watch.join();
    ASSERT_TRUE(g_stepper.kicked);
    ASSERT_FALSE(lost) << "at step " << at;
    inside = g_stepper.inside;
  }
  sigaction(SIGTRAP, &before, nullptr);
  EXPECT_GT(at, 15U);
  EXPECT_LT(at, 1000U);
}

using EntryDeathTest = EntryTest;
TEST_F(EntryDeathTest, AnEnclaveThatCannotBeEnteredIsLost) {
  script = [](uint32_t, size_t) { return kException; };
  fake_function = HW_EENTER;
  EXPECT_EXIT(hw_enter(thread_), testing::ExitedWithCode(70), "protected memory is lost.*vector 6");
}
TEST_F(EntryDeathTest, AnExceptionEntryMustSayResume) {
  script = [](uint32_t, size_t call) -> int { return call == 0 ? int{kException} : leave(kHostCall); };
  EXPECT_EXIT(hw_enter(thread_), testing::ExitedWithCode(70), "exception entry in an unknown way");
}
TEST_F(EntryDeathTest, AKernelThatGivesUpIsNamed) {
  constexpr auto kRefused = static_cast<uint64_t>(boundary::LeaveReason::Refused);
  script = [](uint32_t, size_t call) -> int { return call == 0 ? int{kException} : leave(kRefused); };
  EXPECT_EXIT(hw_enter(thread_), testing::ExitedWithCode(70), "kernel faults in what serves its faults");
}
TEST_F(EntryDeathTest, AFaultInTheExceptionEntryEndsIt) {
  script = [](uint32_t, size_t) { return kException; };
  EXPECT_EXIT(hw_enter(thread_), testing::ExitedWithCode(70), "faulted in its exception entry");
}

}  // namespace
}  // namespace cloister::host

int fake_script(uint32_t function, sgx_enclave_run*, uint64_t rdi, uint64_t frame) {
  auto& test = *cloister::host::EntryTest::current;
  test.steps.push_back({function, rdi, frame});
  const size_t call = test.calls.load();
  const int action = test.script(function, call);
  test.calls.store(call + 1);
  return action;
}

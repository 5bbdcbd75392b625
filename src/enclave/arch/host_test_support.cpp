#include "enclave/arch/host_test_support.h"

#include <asm/prctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/result.h"
#include "enclave/arch/user_copy.h"
#include "enclave/arch/vector_state.h"

namespace cloister::enclave {
namespace {

constexpr size_t kPage = 4096;
constexpr uint8_t kPadding = 0x6b;
HostileHost* g_host = nullptr;

// What the enclave never writes: replies, events, reserved words, and what follows the frame.
constexpr size_t kArgumentsEnd = offsetof(boundary::HostCallFrame, result);
constexpr size_t kReserved = offsetof(boundary::HostCallFrame, reserved);
constexpr size_t kText = offsetof(boundary::HostCallFrame, text);

void set_gs_base(uint64_t value) { CLOISTER_CHECK(syscall(SYS_arch_prctl, ARCH_SET_GS, value) == 0); }

bool all_padding(const uint8_t* begin, const uint8_t* end) {
  return std::all_of(begin, end, [](uint8_t byte) { return byte == kPadding; });
}

}  // namespace

GuardedPages::GuardedPages(size_t size) : size_((size + kPage - 1) & ~(kPage - 1)) {
  void* all = mmap(nullptr, size_ + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CLOISTER_CHECK(all != MAP_FAILED);
  begin_ = static_cast<uint8_t*>(all) + kPage;
  CLOISTER_CHECK(mprotect(begin_, size_, PROT_READ | PROT_WRITE) == 0);
}
GuardedPages::~GuardedPages() { munmap(begin_ - kPage, size_ + 2 * kPage); }

HostileHost::HostileHost() : pages_(boundary::kBlockSize), block_(new ThreadBlock{}) {
  CLOISTER_CHECK(g_host == nullptr);
  g_host = this;
  block_->self = block_;
  set_gs_base(reinterpret_cast<uint64_t>(block_));
  adopt_host_block(reinterpret_cast<uint64_t>(pages_.begin()));
  fill_padding();
}

HostileHost::~HostileHost() {
  set_gs_base(0);
  delete block_;
  g_host = nullptr;
}

void HostileHost::fill_padding() {
  std::memset(pages_.begin() + kReserved, kPadding, kText - kReserved);
  std::memset(pages_.begin() + sizeof(boundary::HostCallFrame), kPadding,
              boundary::kArenaOffset - sizeof(boundary::HostCallFrame));
}

void HostileHost::check_frame(uint64_t reason) {
  const uint8_t* begin = pages_.begin();
  if (reason != static_cast<uint64_t>(boundary::LeaveReason::HostCall)) complaint = "left for another reason";
  if (frame().number == 0 || frame().number >= kNumbers) complaint = "a call that is not in the table";
  if (!all_padding(begin + kReserved, begin + kText) ||
      !all_padding(begin + sizeof(boundary::HostCallFrame), begin + boundary::kArenaOffset))
    complaint = "wrote where it has nothing to write";
  if (!concurrent && calls_ != 0 && frame().result != last_result_) complaint = "wrote into the reply";
}

// Numbers at which bounds break.
uint64_t HostileHost::draw_number() {
  constexpr uint64_t kEdges[] = {0,
                                 1,
                                 127,
                                 128,
                                 129,
                                 2048,
                                 2049,
                                 boundary::kArenaSize,
                                 boundary::kArenaSize + 1,
                                 INT32_MAX,
                                 uint64_t{1} << 31,
                                 UINT32_MAX,
                                 uint64_t{1} << 32,
                                 uint64_t{1} << 47,
                                 uint64_t{1} << 62,
                                 INT64_MAX,
                                 uint64_t{1} << 63,
                                 UINT64_MAX - 1,
                                 UINT64_MAX};
  switch (random_.below(4)) {
    case 0:
      return kEdges[random_.below(std::size(kEdges))];
    case 1:
      return asked_ + random_.below(5) - 2;
    case 2:
      return random_.below(asked_ + 1);
    default:
      return random_.next() >> random_.below(64);
  }
}

int64_t HostileHost::draw_result() {
  switch (random_.below(4)) {
    case 0:
      return -static_cast<int64_t>(random_.below(140));
    case 1:
      return random_.one_in(2) ? -static_cast<int64_t>(random_.below(8192)) : INT64_MIN;
    default:
      return static_cast<int64_t>(draw_number());
  }
}

void HostileHost::scribble() {
  const auto fill = [&](size_t offset, size_t size) {
    const uint64_t word = random_.next();
    for (size_t i = 0; i + 8 <= size; i += 8) std::memcpy(arena_begin() + offset + i, &word, 8);
  };
  fill(0, 64);
  fill(random_.below(boundary::kArenaSize - 64), 64);
}

void HostileHost::serve(uint64_t reason) {
  check_frame(reason);
  if (jump_ != nullptr && --jump_count_ == 0) std::longjmp(*std::exchange(jump_, nullptr), 1);
  ++calls_;
  if (frame().number < kNumbers) ++calls_of_[frame().number];
  std::memcpy(last_arguments_, frame().arguments, sizeof(last_arguments_));
  last_result_ = std::exchange(has_forced_, false) ? forced_ : draw_result();
  frame().result = last_result_;
  for (uint64_t& value : frame().values) value = draw_number();
  std::copy(forced_values_.begin(), forced_values_.end(), frame().values);
  frame().events = random_.one_in(4) ? random_.next() : 0;
  const uint64_t word = random_.next();
  for (size_t i = 0; i < 256; i += 8) std::memcpy(frame().text + i, &word, 8);
  scribble();
}

// ---- What entry.S and the rest of the kernel are to the code under test.

void vector_save_user() {}
uint64_t vector_mask() { return 0x7; }  // x87, SSE, AVX
void vector_hide_user() {}

void end_enclave(int code, std::string_view text) { throw Ended{code, std::string(text)}; }

// Whatever was read once has changed by the next read.
size_t copy_bytes_catching(void* to, const void* from, size_t size) {
  if (size != 0) std::memcpy(to, from, size);
  if (g_host != nullptr) g_host->scribble();
  return 0;
}

}  // namespace cloister::enclave

void leave_for_host(uint64_t reason) { cloister::enclave::g_host->serve(reason); }
uint64_t page_leaf(uint64_t address, uint64_t end, uint64_t flags, uint32_t leaf) {
  cloister::enclave::HostileHost& host = *cloister::enclave::g_host;
  host.page_leaves.push_back({address, end, flags, leaf, host.calls()});
  return leaf == 5 ? host.accept_status : 0;
}

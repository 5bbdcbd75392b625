// A host that answers every call with what suits it, for the unit tests of the kernel's side of host calls.
// The code under test is the kernel's own, down to the place where it would leave the enclave; leave_for_host
// comes here. One seed gives one sequence of replies.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "enclave/arch/host_call.h"
#include "enclave/arch/thread_block.h"

namespace cloister::enclave {

// How the enclave ended itself.
struct Ended {
  int code;
  std::string text;
};

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  uint64_t below(uint64_t limit) { return next() % limit; }
  bool one_in(uint64_t n) { return below(n) == 0; }
  // Mostly small, all sizes up to `limit`.
  uint64_t size(uint64_t limit) { return below((limit >> below(20)) + 1); }

 private:
  uint64_t state_;
};

// Pages between two that nobody may touch.
class GuardedPages {
 public:
  explicit GuardedPages(size_t size);
  ~GuardedPages();
  GuardedPages(const GuardedPages&) = delete;
  GuardedPages& operator=(const GuardedPages&) = delete;
  uint8_t* begin() const { return begin_; }
  uint8_t* end() const { return begin_ + size_; }

 private:
  uint8_t* begin_;
  size_t size_;
};

// The calling thread becomes a thread of the enclave that has this host. One at a time.
class HostileHost {
 public:
  HostileHost();
  ~HostileHost();
  HostileHost(const HostileHost&) = delete;
  HostileHost& operator=(const HostileHost&) = delete;

  void seed(uint64_t value) { random_ = Random(value); }
  // The numbers that the next replies are near: what the caller asks for.
  void asked(uint64_t number) { asked_ = number; }
  // The next reply's result; otherwise it is drawn.
  void force(int64_t result) { forced_ = result, has_forced_ = true; }
  // values[0…] of every reply from now on; empty: drawn again.
  void force_values(std::vector<uint64_t> values) { forced_values_ = std::move(values); }
  // Gives up the `count`-th call from now by a jump to `where`.
  void jump_after(uint64_t count, std::jmp_buf* where) { jump_count_ = count, jump_ = where; }

  void serve(uint64_t reason);  // leave_for_host
  void scribble();              // over the arena's beginning and a random part of it
  boundary::HostCallFrame& frame() { return *reinterpret_cast<boundary::HostCallFrame*>(pages_.begin()); }
  uint8_t* arena_begin() { return pages_.begin() + boundary::kArenaOffset; }

  uint64_t calls() const { return calls_; }
  uint64_t calls_of(uint64_t number) const { return number < kNumbers ? calls_of_[number] : 0; }
  int64_t last_result() const { return last_result_; }
  const uint64_t* last_arguments() const { return last_arguments_; }
  // What the enclave did wrong in what it sent; empty: nothing.
  std::string complaint;
  // EACCEPT and EMODPE of pages, and with which code the next EACCEPT is refused.
  struct PageLeaf {
    uint64_t address, end, flags;
    uint32_t leaf;
    uint64_t calls;  // to the host, before it
    bool operator==(const PageLeaf&) const = default;
  };
  std::vector<PageLeaf> page_leaves;
  uint64_t accept_status = 0;
  bool concurrent = false;  // somebody else writes as well: what the host remembers of the frame is not kept

 private:
  static constexpr uint64_t kNumbers = 64;
  void check_frame(uint64_t reason);
  void fill_padding();
  int64_t draw_result();
  uint64_t draw_number();

  GuardedPages pages_;
  ThreadBlock* block_;
  Random random_{1};
  uint64_t asked_ = 0;
  int64_t forced_ = 0;
  bool has_forced_ = false;
  std::vector<uint64_t> forced_values_;
  std::jmp_buf* jump_ = nullptr;
  uint64_t jump_count_ = 0;
  uint64_t calls_ = 0;
  uint64_t calls_of_[kNumbers] = {};
  int64_t last_result_ = 0;
  uint64_t last_arguments_[6] = {};
};

}  // namespace cloister::enclave

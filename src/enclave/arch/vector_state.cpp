#include "enclave/arch/vector_state.h"

#include <cstring>

#include "base/result.h"
#include "crypto/cpu.h"
#include "sgx/structures.h"
#include "sgx/xsave.h"

extern "C" {
// vector_moves.S
void vector_move_out(void* area, uint32_t parts);
void vector_move_in(const void* area, uint32_t parts);
void vector_zero();

void kernel_move_vectors_in();
}

namespace cloister::enclave {
namespace {

constexpr size_t kLegacySize = sgx::kXsaveLegacySize;
constexpr size_t kHeaderSize = sgx::kXsaveHeaderSize;
constexpr uint32_t kInitialMxcsr = 0x1f80;
constexpr uint16_t kInitialFcw = 0x37f;

constexpr uint64_t kMoved = sgx::kXfrmAvx512 & ~uint64_t{1};  // SSE, AVX and AVX-512
constexpr uint64_t kPkru = uint64_t{1} << 9;
uint64_t g_mask = 3;
bool g_movable = false;
uint32_t g_size = kLegacySize + kHeaderSize;
// As large as any area: a processor may touch all of it, also what a zero XSTATE_BV makes it ignore.
alignas(64) uint8_t g_initial[kVectorAreaSize];

uint64_t read_xcr0() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

// Of the features that are on, those that are not in their initial state.
uint64_t read_in_use() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
  return ((static_cast<uint64_t>(high) << 32) | low) & g_mask;
}

void save_to(uint8_t* area) {
  std::memset(area + kLegacySize, 0, kHeaderSize);
  __asm__ volatile("xsave64 (%0)"
                   :
                   : "r"(area), "a"(static_cast<uint32_t>(g_mask)), "d"(static_cast<uint32_t>(g_mask >> 32))
                   : "memory");
}

// A zero XSTATE_BV puts every component into its initial state.
void clear(uint64_t components) {
  __asm__ volatile("xrstor64 (%0)"
                   :
                   : "r"(g_initial), "a"(static_cast<uint32_t>(components)),
                     "d"(static_cast<uint32_t>(components >> 32))
                   : "memory");
}

// Everything that is in use is what vector_moves.S moves: not x87, nor AMX.
bool movable(uint64_t in_use) { return (in_use & ~kMoved) == 0; }

}  // namespace

void vector_init() {
  // Without PKRU, as in hardware (no XFRM of ours has it): systems never leave it in its initial state.
  g_mask = read_xcr0() & ~kPkru;
  g_size = sgx::xsave_size(g_mask);
  std::memcpy(g_initial, &kInitialFcw, sizeof(kInitialFcw));
  std::memcpy(g_initial + 24, &kInitialMxcsr, sizeof(kInitialMxcsr));
  CLOISTER_CHECK(g_size <= kVectorAreaSize);
}

void vector_allow_moves() {
  g_movable = (g_mask & kMoved) == kMoved && crypto::cpu_level() == crypto::CpuLevel::Vaes512;
}

uint64_t vector_mask() { return g_mask; }
uint32_t vector_size() { return g_size; }

void vector_save_user() {
  ThreadBlock* block = this_block();
  if (block->vector_saved == VECTOR_IN_AREA) return;
  if (block->vector_saved == VECTOR_MOVED) kernel_move_vectors_in();
  save_to(reinterpret_cast<uint8_t*>(block->vector_area));
  block->vector_saved = VECTOR_IN_AREA;
}

void vector_hide_user() {
  ThreadBlock* block = this_block();
  const uint64_t in_use = g_movable ? read_in_use() : g_mask;
  if (!movable(in_use)) {
    if (block->vector_saved == VECTOR_IN_REGISTERS) vector_save_user();
    return clear(g_mask);
  }
  if (block->vector_saved == VECTOR_IN_REGISTERS) {
    vector_move_out(reinterpret_cast<void*>(block->vector_area), static_cast<uint32_t>(in_use));
    block->vector_parts = static_cast<uint32_t>(in_use);
    block->vector_saved = VECTOR_MOVED;
  }
  vector_zero();
}

void vector_reset_user() {
  ThreadBlock* block = this_block();
  std::memcpy(reinterpret_cast<uint8_t*>(block->vector_area), g_initial, kLegacySize + kHeaderSize);
  block->vector_saved = VECTOR_IN_AREA;
}

uint8_t* vector_user_area() { return reinterpret_cast<uint8_t*>(this_block()->vector_area); }

void vector_sanitise(uint8_t* area) {
  uint64_t present = 0;
  std::memcpy(&present, area + kLegacySize, sizeof(present));
  present &= g_mask;
  std::memset(area + kLegacySize, 0, kHeaderSize);
  std::memcpy(area + kLegacySize, &present, sizeof(present));
  uint32_t mxcsr = 0;
  std::memcpy(&mxcsr, area + 24, sizeof(mxcsr));
  mxcsr &= 0xffff;
  std::memcpy(area + 24, &mxcsr, sizeof(mxcsr));
}

}  // namespace cloister::enclave

extern "C" {

// The rest of the registers may be the host's.
void kernel_move_vectors_in() {
  using namespace cloister::enclave;
  if (!movable(read_in_use())) clear(g_mask & ~kMoved);
  const ThreadBlock* block = this_block();
  vector_move_in(reinterpret_cast<const void*>(block->vector_area), block->vector_parts);
}

void kernel_vector_begin() {
  ++cloister::enclave::this_block()->vector_depth;
  cloister::enclave::vector_save_user();
}

void kernel_vector_end() { --cloister::enclave::this_block()->vector_depth; }
}

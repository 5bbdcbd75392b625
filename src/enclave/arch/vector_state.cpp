#include "enclave/arch/vector_state.h"

#include <cstring>

#include "base/result.h"
#include "sgx/xsave.h"

namespace cloister::enclave {
namespace {

constexpr size_t kLegacySize = sgx::kXsaveLegacySize;
constexpr size_t kHeaderSize = sgx::kXsaveHeaderSize;
constexpr uint32_t kInitialMxcsr = 0x1f80;
constexpr uint16_t kInitialFcw = 0x37f;

uint64_t g_mask = 3;
uint32_t g_size = kLegacySize + kHeaderSize;
// As large as any area: a processor may touch all of it, also what a zero XSTATE_BV makes it ignore.
alignas(64) uint8_t g_initial[kVectorAreaSize];

uint64_t read_xcr0() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

void save_to(uint8_t* area) {
  std::memset(area + kLegacySize, 0, kHeaderSize);
  __asm__ volatile("xsave64 (%0)"
                   :
                   : "r"(area), "a"(static_cast<uint32_t>(g_mask)), "d"(static_cast<uint32_t>(g_mask >> 32))
                   : "memory");
}

}  // namespace

void vector_init() {
  g_mask = read_xcr0();
  g_size = sgx::xsave_size(g_mask);
  std::memcpy(g_initial, &kInitialFcw, sizeof(kInitialFcw));
  std::memcpy(g_initial + 24, &kInitialMxcsr, sizeof(kInitialMxcsr));
  CLOISTER_CHECK(g_size <= kVectorAreaSize);
}

uint64_t vector_mask() { return g_mask; }
uint32_t vector_size() { return g_size; }

void vector_save_user() {
  ThreadBlock* block = this_block();
  if (block->vector_saved != 0) return;
  save_to(reinterpret_cast<uint8_t*>(block->vector_area));
  block->vector_saved = 1;
}

void vector_clear_registers() {
  // A zero XSTATE_BV puts every component into its initial state.
  __asm__ volatile("xrstor64 (%0)"
                   :
                   : "r"(g_initial), "a"(static_cast<uint32_t>(g_mask)),
                     "d"(static_cast<uint32_t>(g_mask >> 32))
                   : "memory");
}

void vector_reset_user() {
  ThreadBlock* block = this_block();
  std::memcpy(reinterpret_cast<uint8_t*>(block->vector_area), g_initial, kLegacySize + kHeaderSize);
  block->vector_saved = 1;
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

void kernel_vector_begin() {
  ++cloister::enclave::this_block()->vector_depth;
  cloister::enclave::vector_save_user();
}

void kernel_vector_end() { --cloister::enclave::this_block()->vector_depth; }
}

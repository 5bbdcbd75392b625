// Where everything lies in the enclave's address range (docs/formats/image.md). ELRANGE starts at 0, so
// offset and address are the same number. The program lives below kUserEnd, the kernel above.
//
// BootInfo is a measured page at kBootInfoAddress: the builder writes it, the kernel reads it and trusts it.
#pragma once

#include <cstdint>

#include "sgx/structures.h"

namespace cloister::sgx {

inline constexpr uint64_t kElrangeSize = uint64_t{1} << 36;  // 64 GiB
inline constexpr uint64_t kUserBegin = 0x10000;              // below it nothing is ever mapped
inline constexpr uint64_t kUserEnd = 0xE00000000;

inline constexpr uint64_t kBootInfoAddress = 0xE00000000;
inline constexpr uint64_t kManifestAddress = 0xE00010000;
inline constexpr uint64_t kManifestLimit = 0xF0000;  // bytes
inline constexpr uint64_t kKernelAddress = 0xE01000000;
inline constexpr uint64_t kKernelLimit = 0xF000000;  // bytes of image
inline constexpr uint64_t kThreadAddress = 0xE10000000;
inline constexpr uint64_t kThreadStride = 0x100000;
inline constexpr uint64_t kHeapBegin = 0xE40000000;  // the kernel's heap: committed at run time
inline constexpr uint64_t kHeapEnd = 0xF00000000;

// Within one thread's stride. Gaps are guard pages.
inline constexpr uint64_t kTcsOffset = 0x1000;
inline constexpr uint64_t kSsaOffset = 0x2000;  // kSsaFrames frames of kSsaFramePages pages
inline constexpr uint32_t kSsaFrames = 2;
inline constexpr uint32_t kSsaFramePages = 4;             // XSAVE area with AVX-512, EXINFO, GPRSGX
inline constexpr size_t kGprSize = sizeof(SsaRegisters);  // at the end of a frame
inline constexpr size_t kMiscSize = sizeof(ExInfo);       // right below it
inline constexpr uint64_t kBlockOffset = 0xB000;          // one page: FS and GS at entry
inline constexpr uint64_t kStackOffset = 0x10000;
inline constexpr uint64_t kStackSize = 0x10000;
inline constexpr uint64_t kVectorOffset = 0x30000;  // XSAVE area for the program's vector state
inline constexpr uint64_t kVectorSize = 0x4000;
inline constexpr uint32_t kMaxThreads = 128;

inline constexpr uint64_t kBootMagic = 0x31544f4f42545343;  // "CSTBOOT1"

struct BootInfo {
  uint64_t magic;
  uint32_t version;  // 1
  uint32_t threads;
  uint64_t manifest_address;
  uint64_t manifest_size;
  uint64_t kernel_address;
  uint64_t kernel_size;
  uint64_t thread_address;
  uint64_t thread_stride;
  uint64_t tcs_offset;
  uint64_t ssa_offset;
  uint64_t ssa_frame_size;  // bytes
  uint64_t block_offset;
  uint64_t stack_offset;
  uint64_t stack_size;
  uint64_t vector_offset;
  uint64_t vector_size;
  uint64_t heap_begin;
  uint64_t heap_end;
  uint64_t user_begin;
  uint64_t user_end;

  uint64_t thread(uint32_t index) const { return thread_address + index * thread_stride; }
  uint64_t tcs(uint32_t index) const { return thread(index) + tcs_offset; }
  uint64_t ssa(uint32_t index) const { return thread(index) + ssa_offset; }
  uint64_t block(uint32_t index) const { return thread(index) + block_offset; }
  uint64_t stack_low(uint32_t index) const { return thread(index) + stack_offset; }
  uint64_t stack_top(uint32_t index) const { return stack_low(index) + stack_size; }
  uint64_t vector_area(uint32_t index) const { return thread(index) + vector_offset; }
};
static_assert(sizeof(BootInfo) <= kPageSize);

}  // namespace cloister::sgx

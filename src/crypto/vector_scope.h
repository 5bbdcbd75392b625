// VectorScope: vector registers may be used between its construction and destruction.
// On the host that is always so. In the kernel the registers hold the program's values during a system call:
// the kernel saves them at the first scope and restores them on the way out. Scopes nest.
#pragma once

#ifdef CLOISTER_KERNEL
extern "C" void kernel_vector_begin();
extern "C" void kernel_vector_end();
#endif

namespace cloister::crypto {

class VectorScope {
 public:
#ifdef CLOISTER_KERNEL
  VectorScope() { kernel_vector_begin(); }
  ~VectorScope() { kernel_vector_end(); }
#else
  VectorScope() {}
  ~VectorScope() {}
#endif
  VectorScope(const VectorScope&) = delete;
  VectorScope& operator=(const VectorScope&) = delete;
};

}  // namespace cloister::crypto

// Alone in its file for sgx_keys_test.cpp, which looks at what the CPU would be given.
  .text

// uint32_t enclu_leaf(uint32_t leaf, uint64_t rbx, uint64_t rcx, uint64_t rdx): EREPORT, EGETKEY; returns eax.
  .globl enclu_leaf
  .type enclu_leaf, @function
enclu_leaf:
  push %rbx
  mov %edi, %eax
  mov %rsi, %rbx
  xchg %rdx, %rcx
  enclu
  pop %rbx
  ret

  .section .note.GNU-stack, "", @progbits

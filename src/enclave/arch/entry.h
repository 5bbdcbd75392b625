// Labels of entry.S, and the functions it calls.
#pragma once

#include "enclave/arch/frame.h"
#include "enclave/arch/thread_block.h"

extern "C" {
void enclave_entry();
void syscall_gate();
void return_to_user();
void set_fs_base(uint64_t value);
extern const char copy_bytes_fault_point[], copy_bytes_caught[];
extern const char zero_bytes_fault_point[], zero_bytes_caught[];
extern const char compare_exchange_fault_point[], compare_exchange_caught[];
extern const char page_leaf_enclu[];
uint32_t compare_exchange_catching(uint32_t* word, uint32_t expected, uint32_t desired, uint32_t* old);

void kernel_first_entry(cloister::enclave::ThreadBlock* block, uint64_t host_block,
                        cloister::enclave::UserFrame* frame);
void kernel_system_call(cloister::enclave::UserFrame* frame);
void kernel_user_exception(cloister::enclave::UserFrame* frame,
                           const cloister::enclave::ExceptionRecord* record);
void kernel_fault(cloister::enclave::ExceptionRecord* record);
[[noreturn]] void kernel_lost(uint64_t rip);
void kernel_exit_work(cloister::enclave::UserFrame* frame);
}

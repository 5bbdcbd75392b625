// /dev/sgx_enclave, as far as the hardware back-end uses it. An interface, so that tests put a device in its
// place that records what it is asked and fails where they want.
//
// Layouts and numbers of the requests are the kernel's (<asm/sgx.h>); their meaning and errors: Linux
// Documentation/arch/x86/sgx.rst and the comments of that header.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"

namespace cloister::host {

// Every call returns what the system call returns: -1 with errno set on failure. Any thread.
class SgxDevice {
 public:
  virtual ~SgxDevice() = default;
  // ioctl(2) with one of SGX_IOC_ENCLAVE_… and its argument.
  virtual int request(unsigned long number, void* argument) = 0;
  // A shared mapping of the device, without permissions, at exactly [address, address + size), which must be
  // free.
  virtual int map(uint64_t address, uint64_t size) = 0;
  virtual int protect(uint64_t address, uint64_t size, int protection) = 0;  // mprotect(2)
  virtual int unmap(uint64_t address, uint64_t size) = 0;
};

// The program's memory and the kernel's heap come at run time, so there is no running without EDMM. Asked by
// a request for nothing, which changes nothing, of a device whose enclave has not been created either:
// kernels that know the request look at the CPU first and at the enclave next. Unsupported: the CPU has no
// SGX2 (ENODEV), or the kernel does not know the request (ENOTTY).
Result<void> check_edmm(SgxDevice& device);

// Each open is one enclave. Unsupported: no such device, or this user may not open it; the message says which
// and names `cloister doctor`.
Result<std::unique_ptr<SgxDevice>> open_sgx_device(const std::string& path = "/dev/sgx_enclave");

}  // namespace cloister::host

// What this machine offers to run enclaves, for `cloister doctor`. Facts only: nothing here is evidence of
// anything to somebody else; attestation is.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "host/hw/device.h"
#include "host/hw/vdso.h"

namespace cloister::host {

enum class Verdict : uint8_t { Yes, No, Unknown };

struct Finding {
  std::string name;  // stable, for scripts: "sgx2"
  Verdict verdict = Verdict::Unknown;
  std::string detail;  // what was found
  std::string advice;  // what to do; empty when there is nothing to do
};

struct Machine {
  std::vector<Finding> software;  // needs of the software SGX
  std::vector<Finding> hardware;  // SGX, TDX and SEV-SNP
  bool runs_software = false;     // all needs are met
  bool runs_hardware = false;     // of the hardware back-end, as far as one can see without trying
  uint64_t epc_bytes = 0;         // SGX's protected memory
};

// eax, ebx, ecx, edx of a leaf and subleaf; zeros above the highest leaf.
using Cpuid = std::function<std::array<uint32_t, 4>(uint32_t leaf, uint32_t subleaf)>;
Cpuid real_cpuid();

// What is tried, not read: each as the hardware back-end (hw/enclave.h) does it when it loads an enclave.
struct SgxProbes {
  std::function<Result<std::unique_ptr<SgxDevice>>(const std::string& path)> open;
  std::function<Result<SgxEntry>()> entry;  // into enclaves, in this process
  std::function<uint64_t()> enabled;        // of XCR0, for XFRM
  std::function<Finding()> addresses;       // those of an enclave, in this process
};
SgxProbes real_probes();

// Looks for device nodes and sockets below `root`, and tries what SGX needs by `probes`. Sources: SDM vol. 3D
// chapter 36.7 (CPUID leaf 12H), vol. 2A CPUID leaf 7; Linux Documentation/arch/x86/sgx.rst, tdx.rst; AMD APM
// vol. 3 appendix E (Fn8000_001F).
std::vector<Finding> hardware_findings(const Cpuid& cpuid, const std::filesystem::path& root,
                                       uint64_t& epc_bytes, const SgxProbes& probes = real_probes());
// What the hardware back-end needs of them: SGX1, SGX2, flexible launch control, the device, a kernel with
// EDMM and a way in, free addresses, and registers that the enclave may have.
bool can_run_hardware(const std::vector<Finding>& hardware);
// Tries what the software SGX needs, in this process.
std::vector<Finding> software_findings();
Machine inspect_machine();

}  // namespace cloister::host

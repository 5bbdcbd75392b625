#include "host/machine.h"

#include <cpuid.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "host/hw/enclave.h"
#include "sgx/layout.h"

namespace cloister::host {
namespace {

namespace fs = std::filesystem;

bool bit(uint32_t value, int number) { return (value >> number & 1) != 0; }

Verdict verdict(bool yes) { return yes ? Verdict::Yes : Verdict::No; }

std::string vendor_of(const Cpuid& cpuid) {
  const auto leaf = cpuid(0, 0);
  char text[13] = {};
  std::memcpy(text, &leaf[1], 4);
  std::memcpy(text + 4, &leaf[3], 4);
  std::memcpy(text + 8, &leaf[2], 4);
  return text;
}

// Leaf 12H, subleaf 2 and up: the sections of the EPC.
uint64_t epc_size(const Cpuid& cpuid) {
  constexpr uint32_t kFirst = 2, kLimit = 64;
  uint64_t size = 0;
  for (uint32_t subleaf = kFirst; subleaf < kLimit; ++subleaf) {
    const auto section = cpuid(0x12, subleaf);
    if ((section[0] & 15) != 1) break;
    size += (section[2] & 0xfffff000u) | uint64_t{section[3] & 0xfffffu} << 32;
  }
  return size;
}

// A device node or socket and whether this user may use it.
Finding node(const fs::path& root, const std::string& name, const std::string& path,
             const std::string& advice) {
  const fs::path full = root / fs::path(path).relative_path();
  if (access(full.c_str(), F_OK) != 0) return {name, Verdict::No, path + " is not there", advice};
  if (access(full.c_str(), R_OK | W_OK) != 0)
    return {name, Verdict::No, path + ": " + std::strerror(errno),
            "let this user's groups read and write it"};
  return {name, Verdict::Yes, path, ""};
}

// Whether the kernel adds memory at run time is nowhere to read: it is asked.
Finding edmm(const Finding& device, const fs::path& root, const SgxProbes& probes) {
  constexpr const char* kName = "edmm";
  if (device.verdict != Verdict::Yes) return {kName, Verdict::Unknown, "the device cannot be asked", ""};
  const auto opened = probes.open(root / "dev/sgx_enclave");
  if (!opened.ok()) return {kName, Verdict::Unknown, opened.error().message(), ""};
  const auto has = check_edmm(**opened);
  if (!has.ok()) return {kName, Verdict::No, has.error().message(), has.error().hint()};
  return {kName, Verdict::Yes, "the kernel adds memory to running enclaves", ""};
}

Finding way_in(const SgxProbes& probes) {
  const auto entry = probes.entry();
  if (!entry.ok()) return {"sgx_entry", Verdict::No, entry.error().message(), entry.error().hint()};
  return {"sgx_entry", Verdict::Yes, "the kernel has a way into enclaves (vDSO)", ""};
}

Finding registers(const Cpuid& cpuid, const SgxProbes& probes) {
  const auto xfrm = hardware_xfrm(probes.enabled(), cpuid);
  if (!xfrm.ok()) return {"xfrm", Verdict::No, xfrm.error().message(), xfrm.error().hint()};
  const bool avx = (*xfrm & sgx::kXfrmAvx) == sgx::kXfrmAvx;
  const bool avx512 = (*xfrm & sgx::kXfrmAvx512) == sgx::kXfrmAvx512;
  return {"xfrm", Verdict::Yes,
          std::string("enclaves have SSE") + (avx512 ? ", AVX and AVX-512"
                                              : avx  ? " and AVX"
                                                     : ""),
          ""};
}

void add_sgx(std::vector<Finding>& list, const Cpuid& cpuid, const fs::path& root, uint64_t& epc_bytes,
             const SgxProbes& probes) {
  const auto features = cpuid(7, 0);
  const auto leaf = cpuid(0x12, 0);
  const bool sgx = bit(features[1], 2), sgx1 = sgx && bit(leaf[0], 0), sgx2 = sgx && bit(leaf[0], 1);
  epc_bytes = sgx1 ? epc_size(cpuid) : 0;
  list.push_back({"sgx", verdict(sgx1),
                  sgx1  ? "SGX1, " + std::to_string(epc_bytes >> 20) + " MiB of protected memory"
                  : sgx ? "the CPU has SGX, the firmware keeps it off"
                        : "the CPU has no SGX, or the hypervisor hides it",
                  sgx && !sgx1 ? "enable SGX in the firmware's settings" : ""});
  if (!sgx1) return;
  list.push_back({"sgx2", verdict(sgx2),
                  sgx2 ? "the CPU can add memory at run time" : "the CPU cannot add memory at run time",
                  sgx2 ? "" : "enclaves of Cloister need it"});
  const bool flexible = bit(features[2], 30);
  list.push_back({"flc", verdict(flexible),
                  flexible ? "flexible launch control" : "no flexible launch control",
                  flexible ? "" : "Linux needs it: enable it in the firmware's settings"});
  list.push_back(node(root, "sgx_enclave", "/dev/sgx_enclave", "use Linux 6.0 or newer with CONFIG_X86_SGX"));
  list.push_back(edmm(list.back(), root, probes));
  list.push_back(way_in(probes));
  list.push_back(registers(cpuid, probes));
  list.push_back(probes.addresses());
  list.push_back(
      node(root, "sgx_provision", "/dev/sgx_provision", "quotes made in process need it; AESM does not"));
  list.push_back(
      node(root, "aesm", "/var/run/aesmd/aesm.socket", "install sgx-aesm-service for quotes (DCAP)"));
}

void add_machines(std::vector<Finding>& list, const Cpuid& cpuid, const fs::path& root) {
  const auto tdx = cpuid(0x21, 0);
  char name[13] = {};
  std::memcpy(name, &tdx[1], 4);
  std::memcpy(name + 4, &tdx[3], 4);
  std::memcpy(name + 8, &tdx[2], 4);
  const bool in_tdx = std::strcmp(name, "IntelTDX    ") == 0;
  list.push_back(
      {"tdx_guest", verdict(in_tdx), in_tdx ? "this system is a TDX guest" : "not a TDX guest", ""});
  if (in_tdx) list.push_back(node(root, "tdx_device", "/dev/tdx_guest", "use Linux 6.2 or newer"));
  if (vendor_of(cpuid) == "AuthenticAMD" && cpuid(0x80000000, 0)[0] >= 0x8000001f) {
    const bool snp = bit(cpuid(0x8000001f, 0)[0], 4);
    list.push_back(
        {"snp_cpu", verdict(snp), snp ? "the CPU has SEV-SNP" : "the CPU does not show SEV-SNP", ""});
  }
  Finding guest = node(root, "snp_guest", "/dev/sev-guest", "");
  if (guest.verdict == Verdict::No) guest.detail = "not an SEV-SNP guest (" + guest.detail + ")";
  list.push_back(std::move(guest));
}

Finding low_addresses() {
  constexpr size_t kSize = sgx::kElrangeSize - sgx::kUserBegin;
  void* const wanted = reinterpret_cast<void*>(sgx::kUserBegin);
  void* const got = mmap(wanted, kSize, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  const int number = errno;
  if (got != MAP_FAILED) munmap(got, kSize);
  if (got == wanted) return {"addresses", Verdict::Yes, "the lowest 64 GiB are free", ""};
  return {"addresses", Verdict::No, std::string("the lowest 64 GiB are not free: ") + std::strerror(number),
          "raise ulimit -v; set vm.mmap_min_addr to 65536 or less"};
}

Finding dispatch() {
  // Every address is allowed, so nothing changes but that it is on.
  const bool on = prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, (uint64_t{1} << 47) - 1, 0) == 0;
  const int number = errno;
  if (on) prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0);
  if (on)
    return {"dispatch", Verdict::Yes, "system calls of one range can be caught (Syscall User Dispatch)", ""};
  return {"dispatch", Verdict::No, std::string("Syscall User Dispatch: ") + std::strerror(number),
          "use Linux 5.11 or newer; a container's seccomp profile must allow prctl"};
}

Finding segment_bases(const Cpuid& cpuid) {
  constexpr unsigned long kAnnounced = 2;  // HWCAP2_FSGSBASE
  if ((getauxval(AT_HWCAP2) & kAnnounced) != 0)
    return {"fsgsbase", Verdict::Yes, "announced by the system", ""};
  if (bit(cpuid(7, 0)[1], 0))
    return {"fsgsbase", Verdict::Yes,
            "the CPU has it, the system does not keep it: entering takes a little longer", ""};
  return {"fsgsbase", Verdict::No, "the CPU has no FSGSBASE", "use a CPU made after 2012"};
}

Finding vectors(const Cpuid& cpuid) {
  const bool aes = bit(cpuid(1, 0)[2], 25), xsave = bit(cpuid(1, 0)[2], 27);
  return {"cpu", verdict(aes && xsave), aes && xsave ? "AES-NI and XSAVE" : "AES-NI or XSAVE is missing",
          aes && xsave ? "" : "the hypervisor must pass them through"};
}

}  // namespace

Cpuid real_cpuid() {
  return [](uint32_t leaf, uint32_t subleaf) {
    std::array<uint32_t, 4> out{};
    __get_cpuid_count(leaf, subleaf, &out[0], &out[1], &out[2], &out[3]);
    return out;
  };
}

SgxProbes real_probes() {
  return {[](const std::string& path) { return open_sgx_device(path); }, find_sgx_entry, machine_xfrm,
          low_addresses};
}

std::vector<Finding> hardware_findings(const Cpuid& cpuid, const fs::path& root, uint64_t& epc_bytes,
                                       const SgxProbes& probes) {
  std::vector<Finding> list;
  add_sgx(list, cpuid, root, epc_bytes, probes);
  add_machines(list, cpuid, root);
  return list;
}

bool can_run_hardware(const std::vector<Finding>& hardware) {
  const auto has = [&](const char* name) {
    return std::any_of(hardware.begin(), hardware.end(), [name](const Finding& finding) {
      return finding.name == name && finding.verdict == Verdict::Yes;
    });
  };
  constexpr const char* kNeeds[] = {"sgx",  "sgx2",      "flc",  "sgx_enclave",
                                    "edmm", "sgx_entry", "xfrm", "addresses"};
  return std::all_of(std::begin(kNeeds), std::end(kNeeds), has);
}

std::vector<Finding> software_findings() {
  const Cpuid cpuid = real_cpuid();
  return {low_addresses(), dispatch(), segment_bases(cpuid), vectors(cpuid)};
}

Machine inspect_machine() {
  Machine machine;
  machine.software = software_findings();
  machine.hardware = hardware_findings(real_cpuid(), "/", machine.epc_bytes);
  machine.runs_software = std::all_of(machine.software.begin(), machine.software.end(),
                                      [](const Finding& finding) { return finding.verdict == Verdict::Yes; });
  machine.runs_hardware = can_run_hardware(machine.hardware);
  return machine;
}

}  // namespace cloister::host

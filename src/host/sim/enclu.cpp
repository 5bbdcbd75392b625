#include "host/sim/enclu.h"

#include <cstring>

#include "host/fatal.h"
#include "host/sim/enclave.h"

namespace cloister::host {
namespace {

constexpr uint8_t kEnclu[] = {0x0f, 0x01, 0xd7};
constexpr greg_t kZeroFlag = 0x40;
constexpr greg_t kStatusFlags = 0x8d5;   // CF PF AF ZF SF OF
constexpr greg_t kInvalidAttribute = 2;  // SGX_INVALID_ATTRIBUTE
constexpr greg_t kInvalidKeyName = 256;  // SGX_INVALID_KEYNAME

// Memory that the instruction names: inside ELRANGE and aligned as the SDM asks, else #GP in hardware.
template <class T>
T* operand(uint64_t address, uint64_t alignment) {
  if (address < sgx::kUserBegin || address + sizeof(T) > sgx::kElrangeSize || address % alignment != 0) {
    fatal("ENCLU: an operand lies outside the enclave or is not aligned (#GP)");
  }
  return reinterpret_cast<T*>(address);
}

void report(SimThread& thread, const greg_t* g) {
  sgx::TargetInfo target;
  ByteArray<64> data;
  std::memcpy(&target, operand<sgx::TargetInfo>(static_cast<uint64_t>(g[REG_RBX]), 512), sizeof(target));
  std::memcpy(data.data(), operand<ByteArray<64>>(static_cast<uint64_t>(g[REG_RCX]), 128), data.size());
  const sgx::Report made = thread.enclave->platform().make_report(thread.enclave->secs(), target, data);
  std::memcpy(operand<sgx::Report>(static_cast<uint64_t>(g[REG_RDX]), 512), &made, sizeof(made));
}

void get_key(SimThread& thread, greg_t* g) {
  sgx::KeyRequest request;
  std::memcpy(&request, operand<sgx::KeyRequest>(static_cast<uint64_t>(g[REG_RBX]), 512), sizeof(request));
  auto* out = operand<sgx::Key128Bytes>(static_cast<uint64_t>(g[REG_RCX]), 16);
  const auto key = thread.enclave->platform().get_key(thread.enclave->secs(), request);
  g[REG_EFL] &= ~kStatusFlags;
  if (key.ok()) {
    *out = key.value();
    g[REG_RAX] = 0;
  } else {
    g[REG_RAX] = key.error().code() == Code::Denied ? kInvalidAttribute : kInvalidKeyName;
    g[REG_EFL] |= kZeroFlag;
  }
}

// EACCEPT and EMODPE: SECINFO at rbx, the page at rcx.
EncluResult change_page(SimThread& thread, greg_t* g) {
  constexpr uint32_t kProtection = 13, kPageFault = 14;
  sgx::SecInfo info;
  std::memcpy(&info, operand<sgx::SecInfo>(static_cast<uint64_t>(g[REG_RBX]), 64), sizeof(info));
  const auto address = static_cast<uint64_t>(g[REG_RCX]);
  const bool accepts = static_cast<uint32_t>(g[REG_RAX]) == sgx::kEaccept;
  Epcm& epcm = thread.enclave->epcm();
  const Epcm::Answer answer = accepts ? epcm.accept(address, info.flags) : epcm.extend(address, info.flags);
  if (answer.outcome == Epcm::Outcome::Protection) return {EncluOutcome::Fault, kProtection, 0};
  if (answer.outcome == Epcm::Outcome::PageFault) return {EncluOutcome::Fault, kPageFault, address};
  if (accepts) {
    g[REG_RAX] = static_cast<greg_t>(answer.status);
    g[REG_EFL] = (g[REG_EFL] & ~kStatusFlags) | (answer.status != 0 ? kZeroFlag : 0);
  }
  return {EncluOutcome::Served};
}

}  // namespace

EncluResult emulate_enclu(SimThread& thread, ucontext_t& context) {
  auto* g = context.uc_mcontext.gregs;
  EncluResult result{EncluOutcome::Other};
  if (std::memcmp(reinterpret_cast<const void*>(g[REG_RIP]), kEnclu, sizeof(kEnclu)) != 0) return result;
  switch (static_cast<uint32_t>(g[REG_RAX])) {
    case sgx::kEreport:
      report(thread, g);
      result.outcome = EncluOutcome::Served;
      break;
    case sgx::kEgetkey:
      get_key(thread, g);
      result.outcome = EncluOutcome::Served;
      break;
    case sgx::kEaccept:
    case sgx::kEmodpe:
      result = change_page(thread, g);
      break;
    case sgx::kEexit:
      g[REG_RCX] = g[REG_RIP] + static_cast<greg_t>(sizeof(kEnclu));
      g[REG_RIP] = g[REG_RBX];
      return {EncluOutcome::Left};
    default:
      break;
  }
  if (result.outcome == EncluOutcome::Served) g[REG_RIP] += sizeof(kEnclu);
  return result;
}

}  // namespace cloister::host

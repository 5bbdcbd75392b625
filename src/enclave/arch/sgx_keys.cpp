#include "enclave/arch/sgx_keys.h"

#include <cstring>

#include "enclave/arch/host_call.h"

namespace cloister::enclave {
namespace {

// Operands in memory of the enclave, aligned as the SDM asks (vol. 3D, EREPORT: 512, 128, 512; EGETKEY: 512,
// 16). One caller: the kernel lock is held.
struct Operands {
  alignas(512) sgx::TargetInfo target;
  alignas(128) ByteArray<128> data;
  alignas(512) sgx::Report report;
  alignas(512) sgx::KeyRequest request;
  alignas(16) ByteArray<16> key;
} g_operands;

uint64_t address_of(const void* operand) { return reinterpret_cast<uint64_t>(operand); }

}  // namespace

sgx::Report make_report(const sgx::TargetInfo& target, const ByteArray<64>& data) {
  g_operands.target = target;
  std::memcpy(g_operands.data.data(), data.data(), data.size());
  enclu_leaf(sgx::kEreport, address_of(&g_operands.target), address_of(&g_operands.data),
             address_of(&g_operands.report));
  return g_operands.report;
}

SysResult<Secret<ByteArray<16>>> get_key(const sgx::KeyRequest& request) {
  g_operands.request = request;
  const uint32_t status =
      enclu_leaf(sgx::kEgetkey, address_of(&g_operands.request), address_of(&g_operands.key), 0);
  if (status != 0) return Errno::Perm;
  Secret<ByteArray<16>> key(g_operands.key);
  wipe(g_operands.key.data(), g_operands.key.size());
  return key;
}

}  // namespace cloister::enclave

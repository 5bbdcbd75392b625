// What only the CPU can say about this enclave: reports (EREPORT) and seal keys (EGETKEY).
#pragma once

#include "base/secret.h"
#include "enclave/sys_result.h"
#include "sgx/structures.h"

namespace cloister::enclave {

// EREPORT with `data` as REPORTDATA, for `target` to check. Kernel lock held.
sgx::Report make_report(const sgx::TargetInfo& target, const ByteArray<64>& data);

// EGETKEY. Perm: the CPU refuses the request, for example an ISVSVN above the enclave's own. Kernel lock
// held.
SysResult<Secret<ByteArray<16>>> get_key(const sgx::KeyRequest& request);

}  // namespace cloister::enclave

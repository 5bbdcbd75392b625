// The sealed volume of a standalone image: its key is derived by the CPU, its newest state is named by an
// anchor (volume/anchor.h). No service is asked, so both come back on this machine alone.
#pragma once

#include <memory>
#include <string>

#include "enclave/sys_result.h"
#include "sgx/manifest.h"
#include "volume/anchor.h"

namespace cloister::enclave {

struct SealedVolume {
  std::unique_ptr<volume::Storage> storage, anchor_storage;
  volume::Anchored opened;  // destroyed before the storages
};

// Made at the first start. Does not return when the volume is not in the state that its anchor names: the
// enclave ends with 3. Otherwise `why` gets words for who reads the log.
SysResult<SealedVolume> open_sealed_volume(const sgx::Standalone& standalone, std::string& why);

}  // namespace cloister::enclave

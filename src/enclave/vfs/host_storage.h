// A volume's folder on the host, through the storage host calls. All it returns is hostile: the volume
// verifies.
#pragma once

#include <memory>
#include <string_view>

#include "enclave/sys_result.h"
#include "volume/storage.h"

namespace cloister::enclave {

// `mount_path`: "root" for the image's root volume, otherwise where the volume is mounted.
SysResult<std::unique_ptr<volume::Storage>> bind_host_storage(std::string_view mount_path);

}  // namespace cloister::enclave

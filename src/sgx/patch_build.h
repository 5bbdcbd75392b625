// The builder's step for call-site patching: looks at every regular file of a root volume, scans those that
// are programs or libraries, and writes the patch table into the volume (patch_table.h). Call it after the
// last file is in and before the volume is committed; equal volumes get equal tables.
#pragma once

#include "sgx/patch_scan.h"
#include "volume/volume.h"

namespace cloister::sgx {

// Errors: those of the volume; InvalidArgument when the volume has a file in the table's place already.
Result<void> add_patch_table(volume::Volume& root, volume::Timestamp now);

}  // namespace cloister::sgx

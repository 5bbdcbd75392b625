// What can be said about folders of volumes without a key: where they are, which volume one is, whether its
// state changed. Everything here is a hint that an attacker could change; opening with key and tag decides.
#pragma once

#include <filesystem>
#include <map>
#include <vector>

#include "volume/format.h"

namespace cloister::cli {

// Every folder at or below `root` that holds a volume.fspf, by its path below `root` with a leading slash:
// the names that encryptedpush and execute give to the folders in their zips are mount paths. Links are not
// followed, other files and folders are left out. Unavailable when `root` cannot be read.
Result<std::map<std::string, std::filesystem::path>> find_volumes(const std::filesystem::path& root);

// The same with every folder below `root` that holds nothing: the place of a volume that the service makes at
// its first run. Without any volume there are no places either.
Result<std::map<std::string, std::filesystem::path>> find_volumes_and_places(
    const std::filesystem::path& root);

// The ids in the folder's superblocks; usually one. Empty when there is none.
Result<std::vector<volume::VolumeId>> volume_ids(const std::filesystem::path& folder);

// Changes with every commit, because a commit writes a superblock. Of nothing when there is no volume yet.
Result<crypto::Digest> superblocks_digest(const std::filesystem::path& folder);

}  // namespace cloister::cli

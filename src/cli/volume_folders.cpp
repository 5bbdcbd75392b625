#include "cli/volume_folders.h"

#include <algorithm>
#include <fstream>

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlock = 4096;
constexpr unsigned kMaxDepth = 16;
constexpr size_t kMaxFolders = 1024;

bool holds_volume(const fs::path& folder) {
  std::error_code error;
  return fs::is_regular_file(fs::symlink_status(folder / volume::kMainName, error));
}

struct Found {
  std::map<std::string, fs::path> volumes, places;
};

Result<void> search(const fs::path& folder, const std::string& name, unsigned depth, Found& found) {
  if (holds_volume(folder)) {
    found.volumes.emplace(name.empty() ? "/" : name, folder);
    return {};
  }
  if (depth == kMaxDepth || found.volumes.size() + found.places.size() >= kMaxFolders) return {};
  std::error_code error;
  std::vector<fs::path> below;
  bool empty = true;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    empty = false;
    if (at->symlink_status(error).type() == fs::file_type::directory) below.push_back(at->path());
  }
  if (error) return Error(Code::Unavailable, "cannot read " + folder.string() + ": " + error.message());
  if (empty && !name.empty()) found.places.emplace(name, folder);
  for (const fs::path& path : below)
    TRY(search(path, name + "/" + path.filename().string(), depth + 1, found));
  return {};
}

Result<Bytes> superblocks(const fs::path& folder) {
  const fs::path path = folder / volume::kMainName;
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(Code::NotFound, "there is no volume in " + folder.string());
  Bytes bytes(volume::kSuperblockSlots * kBlock);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return bytes;
}

}  // namespace

Result<std::map<std::string, fs::path>> find_volumes(const fs::path& root) {
  Found found;
  TRY(search(root, "", 0, found));
  return std::move(found.volumes);
}

Result<std::map<std::string, fs::path>> find_volumes_and_places(const fs::path& root) {
  Found found;
  TRY(search(root, "", 0, found));
  if (!found.volumes.empty()) found.volumes.merge(found.places);
  return std::move(found.volumes);
}

Result<std::vector<volume::VolumeId>> volume_ids(const fs::path& folder) {
  const Bytes bytes = TRY(superblocks(folder));
  std::vector<volume::VolumeId> ids;
  for (size_t at = 0; at + volume::kHeadSize <= bytes.size(); at += kBlock) {
    const Result<volume::Superblock> head =
        volume::decode_head(ByteView(bytes).subspan(at, volume::kHeadSize));
    if (head.ok() && std::find(ids.begin(), ids.end(), head->id) == ids.end()) ids.push_back(head->id);
  }
  return ids;
}

Result<crypto::Digest> superblocks_digest(const fs::path& folder) {
  const Result<Bytes> bytes = superblocks(folder);
  if (!bytes.ok() && bytes.error().code() == Code::NotFound) return crypto::sha256({});
  if (!bytes.ok()) return Error(bytes.error());
  return crypto::sha256(*bytes);
}

}  // namespace cloister::cli

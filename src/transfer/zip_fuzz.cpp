// Archives come from strangers. Whatever they hold, unpacking ends, stays inside its folder and within its
// limits, and leaves nothing behind when it refuses.
#include <stdlib.h>

#include <cstdio>

#include "base/files.h"
#include "transfer/zip.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister;
  namespace fs = std::filesystem;
  static const fs::path folder = [] {
    std::string name = (fs::temp_directory_path() / "cloister-zip-fuzz-XXXXXX").string();
    CLOISTER_CHECK(::mkdtemp(name.data()) != nullptr);
    static const struct Cleaner {
      fs::path path;
      ~Cleaner() {
        std::error_code ignored;
        fs::remove_all(path, ignored);
      }
    } cleaner{name};
    return fs::path(name);
  }();
  const fs::path zip = folder / "a.zip";
  std::FILE* file = std::fopen(zip.c_str(), "wb");
  CLOISTER_CHECK(file != nullptr && std::fwrite(data, 1, size, file) == size && std::fclose(file) == 0);

  const Result<transfer::ZipListing> listing = transfer::list_zip(zip, 100);
  if (listing.ok() && listing->entries.size() > 100) std::abort();
  transfer::ZipLimits limits;
  limits.max_entries = 50;
  limits.max_size = 1 << 20;
  const bool unpacked = transfer::unzip(zip, folder / "out", limits).ok();
  if (unpacked != fs::exists(folder / "out")) std::abort();
  fs::remove_all(folder / "out");
  size_t left = 0;
  for (const auto& entry : fs::directory_iterator(folder)) left += entry.path().empty() ? 0 : 1;
  if (left != 1) std::abort();
  return 0;
}

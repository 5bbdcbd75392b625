#include "cli/temporary_folder.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>

namespace cloister::cli {

namespace fs = std::filesystem;

Result<TemporaryFolder> TemporaryFolder::make(const fs::path& parent) {
  std::error_code error;
  const fs::path base = parent.empty() ? fs::temp_directory_path(error) : parent;
  std::string name = ((base.empty() ? fs::path("/tmp") : base) / "cloister-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    return Error(Code::Unavailable, "cannot make a folder in " + base.string() + ": " + std::strerror(errno),
                 "set TMPDIR to a folder with enough space");
  }
  return TemporaryFolder(name);
}

TemporaryFolder& TemporaryFolder::operator=(TemporaryFolder&& other) noexcept {
  if (this != &other) {
    remove();
    path_ = std::exchange(other.path_, {});
    interrupted_ = std::move(other.interrupted_);
  }
  return *this;
}

void TemporaryFolder::remove() {
  if (path_.empty()) return;
  std::error_code error;  // what cannot be removed is ciphertext
  fs::remove_all(path_, error);
}

}  // namespace cloister::cli

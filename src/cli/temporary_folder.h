// A folder that only this user can read and that goes away with its owner, or with an interruption.
#pragma once

#include <filesystem>

#include <memory>

#include "base/result.h"
#include "cli/interruption.h"

namespace cloister::cli {

class TemporaryFolder {
 public:
  // Below `parent`, or where TMPDIR says. Unavailable.
  static Result<TemporaryFolder> make(const std::filesystem::path& parent = {});
  TemporaryFolder(TemporaryFolder&& other) noexcept
      : path_(std::exchange(other.path_, {})), interrupted_(std::move(other.interrupted_)) {}
  TemporaryFolder& operator=(TemporaryFolder&& other) noexcept;
  ~TemporaryFolder() { remove(); }

  const std::filesystem::path& path() const { return path_; }
  // Lets it stay.
  std::filesystem::path keep() {
    interrupted_.reset();
    return std::exchange(path_, {});
  }

 private:
  explicit TemporaryFolder(std::filesystem::path path)
      : path_(std::move(path)), interrupted_(std::make_unique<RemovedWhenInterrupted>(path_)) {}
  void remove();

  std::filesystem::path path_;
  std::unique_ptr<RemovedWhenInterrupted> interrupted_;
};

}  // namespace cloister::cli

#include "cli/remote_folders.h"

namespace cloister::cli {

transfer::ClientOptions transfer_options(bool insecure) {
  transfer::ClientOptions options;
  options.http.insecure = insecure;
  return options;
}

transfer::ClientOptions transfer_options(bool insecure, ProgressBar& bar) {
  transfer::ClientOptions options = transfer_options(insecure);
  options.progress = bar.callback();
  return options;
}

Result<TemporaryFolder> archive_scratch(const std::filesystem::path& folder) {
  const std::filesystem::path inside = folder.has_filename() ? folder : folder.parent_path();
  const std::filesystem::path parent = inside.has_parent_path() ? inside.parent_path() : ".";
  Result<TemporaryFolder> beside = TemporaryFolder::make(parent);
  return beside.ok() ? std::move(beside) : TemporaryFolder::make();
}

Result<void> check_remote(const std::string& remote, bool insecure) {
  transfer::ClientOptions options = transfer_options(insecure);
  options.http.connect_timeout = std::chrono::seconds(5);
  options.http.stall_timeout = std::chrono::seconds(3);
  return transfer::check_remote(remote, options);
}

}  // namespace cloister::cli

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

Result<void> check_remote(const std::string& remote, bool insecure) {
  transfer::ClientOptions options = transfer_options(insecure);
  options.http.connect_timeout = std::chrono::seconds(5);
  options.http.stall_timeout = std::chrono::seconds(3);
  return transfer::check_remote(remote, options);
}

}  // namespace cloister::cli

#include "cli/remote_folders.h"

#include "http/client.h"
#include "transfer/names.h"
#include "transfer/remote.h"

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
  TRY(transfer::make_remote(remote));
  if (transfer::scheme_of(remote) == "file") return {};  // as quick as anything else
  // Any answer will do: services differ in what they say here.
  TRY(http::fetch("GET", remote, "", {}, transfer_options(insecure).http, 1 << 20));
  return {};
}

}  // namespace cloister::cli

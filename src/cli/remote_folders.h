// Transfer servers as the tutorial's commands use them.
#pragma once

#include "cli/progress.h"
#include "transfer/client.h"

namespace cloister::cli {

// `insecure`: any TLS certificate will do, because only ciphertext is moved.
transfer::ClientOptions transfer_options(bool insecure);
transfer::ClientOptions transfer_options(bool insecure, ProgressBar& bar);

// transfer::check_remote within ten seconds: said before the work, and without the patience that a transfer
// of gigabytes needs.
Result<void> check_remote(const std::string& remote, bool insecure);

}  // namespace cloister::cli

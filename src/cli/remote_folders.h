// Transfer servers as the tutorial's commands use them.
#pragma once

#include "cli/progress.h"
#include "cli/temporary_folder.h"
#include "transfer/client.h"

namespace cloister::cli {

// `insecure`: any TLS certificate will do, because only ciphertext is moved.
transfer::ClientOptions transfer_options(bool insecure);
transfer::ClientOptions transfer_options(bool insecure, ProgressBar& bar);

// For the archive of `folder`, gone after an interruption, too: beside it, where there was room for the
// folder itself, or where TMPDIR says.
Result<TemporaryFolder> archive_scratch(const std::filesystem::path& folder);

// transfer::check_remote within ten seconds: said before the work, and without the patience that a transfer
// of gigabytes needs.
Result<void> check_remote(const std::string& remote, bool insecure);

}  // namespace cloister::cli

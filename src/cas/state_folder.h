// The service's state folder (0700): database, database key, the one key pair of both listeners. Keys are
// plain files (0600) here: a service outside of an enclave hides nothing from whoever runs it
// (docs/threat-model.md). A folder has one owner at a time, held by a lock on a file in it.
#pragma once

#include <filesystem>

#include "base/descriptor.h"
#include "base/secret.h"
#include "crypto/tls.h"

namespace cloister::cas {

class StateFolder {
 public:
  // Creates what is missing; what a start left unfinished the next one completes. Denied: another process
  // uses it. Integrity: a database without its keys, or something else in their place. Unavailable,
  // Malformed: a file cannot be read as it is; nothing is lost.
  static Result<StateFolder> open(const std::filesystem::path& folder);

  const crypto::TlsIdentity& identity() const { return *identity_; }
  const Key256& database_key() const { return database_key_; }
  std::filesystem::path database() const { return folder_ / "cas.db"; }

 private:
  explicit StateFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}
  Result<void> lock();
  Result<void> load();

  std::filesystem::path folder_;
  Descriptor lock_;
  Key256 database_key_;
  std::optional<crypto::TlsIdentity> identity_;
};

}  // namespace cloister::cas

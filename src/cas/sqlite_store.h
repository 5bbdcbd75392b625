// The store in one SQLite file. One thread owns the writing connection and commits whatever is waiting as one
// batch; readers share a second connection and see only what is durable.
//
// Opening verifies the newest entries of the journal: chain, signatures, and that the rows they wrote are
// still the ones that were written. A store that is not sound is not opened.
#pragma once

#include <filesystem>
#include <memory>

#include "cas/store.h"
#include "crypto/keypair.h"

namespace cloister::cas {

struct SqliteStoreOptions {
  std::filesystem::path path;
  size_t verified_entries = 1000;  // of the journal, the newest, at opening; journal.h: what that finds
};

class SqliteStore final : public Store {
 public:
  // Creates the file when absent. Integrity: damaged, or written under other keys. Unavailable: the disk.
  static Result<std::unique_ptr<SqliteStore>> open(const SqliteStoreOptions& options,
                                                   const Key256& database_key, const crypto::KeyPair& signer);
  // Waits for changes that were already given.
  ~SqliteStore() override;

  Result<void> update(const Change& change) override;
  Result<std::optional<SecretBytes>> get(std::string_view table, std::string_view key) override;
  Result<std::vector<JournalEvent>> events(std::string_view subject, size_t limit) override;
  JournalHead head() const override;
  Result<std::optional<crypto::Digest>> entry_hash(uint64_t sequence) override;

 private:
  class Impl;
  explicit SqliteStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cloister::cas

// The tables of the SQLite store and what is done to them on one connection: sealed rows and journal entries,
// read, written and verified. Not thread-safe; sqlite_store.cpp decides which thread uses which connection.
#pragma once

#include <optional>
#include <vector>

#include "cas/journal.h"
#include "cas/seal.h"
#include "cas/sqlite.h"
#include "cas/store.h"
#include "crypto/keypair.h"

namespace cloister::cas {

class SqliteRows {
 public:
  // `read_only`: the tables must exist.
  static Result<SqliteRows> open(const std::filesystem::path& path, bool read_only, const Sealer& sealer,
                                 const crypto::KeyPair& signer);

  Result<void> begin() { return database_.execute("BEGIN IMMEDIATE"); }
  Result<void> commit() { return database_.execute("COMMIT"); }
  Result<void> rollback() { return database_.execute("ROLLBACK"); }

  Result<std::optional<SecretBytes>> get(std::string_view table, std::string_view key);
  // An empty value erases. Returns what the journal says about the row.
  Result<WrittenRow> write(std::string_view table, std::string_view key, const SecretBytes* value);
  // Signs and appends after `head`; returns the new head.
  Result<JournalHead> append(const JournalHead& head, const JournalEvent& event,
                             std::vector<WrittenRow> rows);
  // Once a batch, after its last entry.
  Result<void> record_head(const JournalHead& head);
  Result<std::vector<JournalEvent>> events(std::string_view subject, size_t limit);

  // What the entry after it calls its predecessor. Empty: there is no entry after it.
  Result<std::optional<crypto::Digest>> hash_before_next(uint64_t sequence);

  // The journal's end, after its newest `count` entries and their rows were checked. Integrity when not
  // sound.
  Result<JournalHead> verify(size_t count);

 private:
  SqliteRows(Database database, const Sealer& sealer, const crypto::KeyPair& signer)
      : database_(std::move(database)), sealer_(sealer), signer_(signer) {}
  Result<void> prepare();
  Result<void> collect(Statement& newest, std::string_view subject, size_t limit,
                       std::vector<JournalEvent>& out);
  Result<uint64_t> version_of(std::string_view table, std::string_view key);
  Result<void> verify_row(const WrittenRow& row);
  Result<void> verify_recorded_head(const JournalHead& head);

  Database database_;
  Sealer sealer_;
  crypto::KeyPair signer_;
  Statement get_, version_, put_, erase_, append_, events_, tags_, unproven_, newest_, previous_;
};

}  // namespace cloister::cas

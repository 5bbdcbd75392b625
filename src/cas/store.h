// What the service must not forget, behind one small interface: sealed rows (table, key → value) and one
// hash-chained, signed journal under them. The journal is the history, the rows are its newest state.
//
// The one idea: every change is a function over a transaction, and the store runs them one after the other on
// one thread, many to a commit. So a compare-and-swap is a plain `if`, two racing changes have an order, and
// a thousand waiting clients cost one sync of the disk. Acknowledged means durable: `update` returns after
// it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/secret.h"
#include "crypto/sha256.h"

namespace cloister::cas {

// One event of a session, as its owner may see it.
struct JournalEvent {
  uint64_t sequence = 0;
  int64_t time = 0;     // seconds since 1970
  std::string kind;     // "created", "denied" and so on (docs/reference/api.md)
  std::string subject;  // whose: subject_of() a session and an owner
  std::string text;
};

// What an event says beyond this is cut off: parts of it come from strangers, and an entry that is too large
// to be read would end the service for everybody.
inline constexpr size_t kMaxEventText = 4096;  // bytes

class Transaction {
 public:
  virtual ~Transaction() = default;
  // Sees what this transaction wrote, and everything before it. Empty: no such row. Integrity: damaged.
  virtual Result<std::optional<SecretBytes>> get(std::string_view table, std::string_view key) = 0;
  virtual void put(std::string_view table, std::string_view key, SecretBytes value) = 0;
  virtual void erase(std::string_view table, std::string_view key) = 0;
  // `text` is cut to kMaxEventText.
  virtual void journal(std::string_view kind, std::string_view subject, std::string_view text) = 0;
};

struct JournalHead {
  uint64_t sequence = 0;  // of the newest entry; 0: none yet
  crypto::Digest hash{};
};

// Thread-safe.
class Store {
 public:
  using Change = std::function<Result<void>(Transaction&)>;

  virtual ~Store() = default;

  // Runs `change` on the store's own thread and returns once its writes are durable. When it returns an
  // error nothing of it is kept. It must not call the store and must not block; a store may run it more than
  // once, and only the last run counts. Unavailable: the disk failed, nothing is kept.
  virtual Result<void> update(const Change& change) = 0;

  // The newest durable value. Empty: no such row.
  virtual Result<std::optional<SecretBytes>> get(std::string_view table, std::string_view key) = 0;

  // The newest `limit` events of a subject, oldest of them first; of kind "tags" at most the newest 100.
  virtual Result<std::vector<JournalEvent>> events(std::string_view subject, size_t limit) = 0;

  virtual JournalHead head() const = 0;
  // The hash of the durable entry with this number, zero for 0. Empty: there is none yet.
  virtual Result<std::optional<crypto::Digest>> entry_hash(uint64_t sequence) = 0;
};

}  // namespace cloister::cas

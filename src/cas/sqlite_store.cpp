#include "cas/sqlite_store.h"

#include <condition_variable>
#include <ctime>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "cas/sqlite_rows.h"

namespace cloister::cas {
namespace {

constexpr size_t kMaxBatch = 256;  // changes in one commit

using RowKey = std::pair<std::string, std::string>;

// Between characters, and visibly.
std::string shortened(std::string_view text) {
  static constexpr std::string_view kCut = " [cut]";
  if (text.size() <= kMaxEventText) return std::string(text);
  size_t end = kMaxEventText - kCut.size();
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end)).append(kCut);
}

// Collects what a change writes; nothing reaches the database until the change has succeeded.
class PendingTransaction final : public Transaction {
 public:
  explicit PendingTransaction(SqliteRows& rows) : rows_(rows) {}

  Result<std::optional<SecretBytes>> get(std::string_view table, std::string_view key) override {
    const auto pending = writes_.find(RowKey(table, key));
    if (pending == writes_.end()) return rows_.get(table, key);
    if (!pending->second) return std::optional<SecretBytes>();
    return std::optional<SecretBytes>(pending->second->copy());
  }
  void put(std::string_view table, std::string_view key, SecretBytes value) override {
    writes_[RowKey(table, key)] = std::move(value);
  }
  void erase(std::string_view table, std::string_view key) override {
    writes_[RowKey(table, key)] = std::nullopt;
  }
  void journal(std::string_view kind, std::string_view subject, std::string_view text) override {
    events_.push_back({0, 0, std::string(kind), std::string(subject), shortened(text)});
  }

  // The rows go into the first event's entry. A change that writes must say why.
  Result<JournalHead> flush(JournalHead head, int64_t time) {
    CLOISTER_CHECK(writes_.empty() || !events_.empty());
    std::vector<WrittenRow> written;
    for (const auto& [key, value] : writes_) {
      WrittenRow row = TRY(rows_.write(key.first, key.second, value ? &*value : nullptr));
      written.push_back(std::move(row));
    }
    for (JournalEvent& event : events_) {
      event.time = time;
      head = TRY(rows_.append(head, event, std::exchange(written, {})));
    }
    return head;
  }

 private:
  SqliteRows& rows_;
  std::map<RowKey, std::optional<SecretBytes>> writes_;
  std::vector<JournalEvent> events_;
};

struct Job {
  const Store::Change* change = nullptr;
  Result<void> outcome;
  bool done = false;
  std::condition_variable finished;
};

}  // namespace

class SqliteStore::Impl {
 public:
  Impl(SqliteRows writer, SqliteRows reader, const JournalHead& head)
      : writer_(std::move(writer)), reader_(std::move(reader)), head_(head) {
    thread_ = std::thread([this] { work(); });
  }
  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    waiting_.notify_all();
    thread_.join();
  }

  Result<void> update(const Change& change) {
    Job job;
    job.change = &change;
    std::unique_lock lock(mutex_);
    jobs_.push_back(&job);
    waiting_.notify_one();
    job.finished.wait(lock, [&job] { return job.done; });
    return std::move(job.outcome);
  }

  Result<std::optional<SecretBytes>> get(std::string_view table, std::string_view key) {
    const std::lock_guard lock(reader_mutex_);
    return reader_.get(table, key);
  }
  Result<std::vector<JournalEvent>> events(std::string_view subject, size_t limit) {
    const std::lock_guard lock(reader_mutex_);
    return reader_.events(subject, limit);
  }
  Result<std::optional<crypto::Digest>> entry_hash(uint64_t sequence) {
    const JournalHead newest = head();
    if (sequence == 0) return std::optional(crypto::Digest{});
    if (sequence > newest.sequence) return std::optional<crypto::Digest>();
    if (sequence == newest.sequence) return std::optional(newest.hash);
    const std::lock_guard lock(reader_mutex_);
    return reader_.hash_before_next(sequence);
  }
  JournalHead head() const {
    const std::lock_guard lock(mutex_);
    return head_;
  }

 private:
  void work() {
    std::vector<Job*> batch;
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        waiting_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
        if (jobs_.empty()) return;
        while (!jobs_.empty() && batch.size() < kMaxBatch) {
          batch.push_back(jobs_.front());
          jobs_.pop_front();
        }
      }
      const JournalHead after = commit(batch);
      {
        const std::lock_guard lock(mutex_);
        head_ = after;
        for (Job* job : batch) {  // under the lock: the job is its waiter's, who leaves once it has the lock
          job->done = true;
          job->finished.notify_one();
        }
      }
      batch.clear();
    }
  }

  // Runs the batch and commits it. When the database fails, all of it has failed.
  JournalHead commit(const std::vector<Job*>& batch) {
    JournalHead head = head_;
    Result<void> sound = writer_.begin();
    for (Job* job : batch) {
      if (!sound.ok()) break;
      PendingTransaction transaction(writer_);
      job->outcome = (*job->change)(transaction);
      if (!job->outcome.ok()) continue;
      Result<JournalHead> flushed = transaction.flush(head, std::time(nullptr));
      if (flushed.ok()) {
        head = *flushed;
      } else {
        sound = std::move(flushed).error();
      }
    }
    if (sound.ok() && head.sequence != head_.sequence) sound = writer_.record_head(head);
    if (sound.ok()) sound = writer_.commit();
    if (sound.ok()) return head;
    // Nothing more can be done when even this fails; SQLite then rolls back by itself.
    static_cast<void>(writer_.rollback().ok());
    for (Job* job : batch) job->outcome = Error(sound.error());
    return head_;
  }

  SqliteRows writer_;  // of thread_
  std::mutex reader_mutex_;
  SqliteRows reader_;

  mutable std::mutex mutex_;
  std::condition_variable waiting_;
  std::deque<Job*> jobs_;
  JournalHead head_;
  bool stopping_ = false;
  std::thread thread_;
};

SqliteStore::SqliteStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SqliteStore::~SqliteStore() = default;

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(const SqliteStoreOptions& options,
                                                       const Key256& database_key,
                                                       const crypto::KeyPair& signer) {
  const Sealer sealer(database_key);
  SqliteRows writer = TRY(SqliteRows::open(options.path, false, sealer, signer));
  const JournalHead head = TRY(writer.verify(options.verified_entries));
  SqliteRows reader = TRY(SqliteRows::open(options.path, true, sealer, signer));
  auto impl = std::make_unique<Impl>(std::move(writer), std::move(reader), head);
  return std::unique_ptr<SqliteStore>(new SqliteStore(std::move(impl)));
}

Result<void> SqliteStore::update(const Change& change) { return impl_->update(change); }
Result<std::optional<SecretBytes>> SqliteStore::get(std::string_view table, std::string_view key) {
  return impl_->get(table, key);
}
Result<std::vector<JournalEvent>> SqliteStore::events(std::string_view subject, size_t limit) {
  return impl_->events(subject, limit);
}
Result<std::optional<crypto::Digest>> SqliteStore::entry_hash(uint64_t sequence) {
  return impl_->entry_hash(sequence);
}
JournalHead SqliteStore::head() const { return impl_->head(); }

}  // namespace cloister::cas

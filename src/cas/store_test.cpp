// The store: what is acknowledged survives, what is changed behind its back is found, races have an order.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "base/files.h"
#include "cas/journal.h"
#include "cas/seal.h"
#include "cas/sqlite.h"
#include "cas/sqlite_store.h"
#include "cas/state_folder.h"

namespace cloister::cas {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

SecretBytes secret(std::string_view text) { return SecretBytes(Bytes(text.begin(), text.end())); }

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/cloister-cas-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    reopen();
  }
  void TearDown() override {
    store_.reset();
    fs::remove_all(folder_);
  }
  void reopen() {
    auto opened = try_open();
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    store_ = std::move(*opened);
  }
  Result<std::unique_ptr<SqliteStore>> try_open() {
    store_.reset();
    SqliteStoreOptions options;
    options.path = folder_ / "cas.db";
    options.verified_entries = verified_;
    return SqliteStore::open(options, key_, signer_);
  }
  void put(const std::string& key, const std::string& value, const std::string& subject = "s") {
    const Result<void> done = store_->update([&](Transaction& transaction) -> Result<void> {
      transaction.put("t", key, secret(value));
      transaction.journal("written", subject, key + "=" + value);
      return {};
    });
    ASSERT_TRUE(done.ok()) << done.error().message();
  }
  std::string get(const std::string& key) {
    const auto value = store_->get("t", key).value();
    return value ? std::string(as_text(value->expose())) : "(none)";
  }
  // Behind the store's back.
  void execute(const std::string& sql) {
    store_.reset();
    Database database = Database::open(folder_ / "cas.db", false).value();
    const Result<void> done = database.execute(sql.c_str());
    ASSERT_TRUE(done.ok()) << done.error().message();
  }
  void expect_refused(const std::string& what) {
    const auto opened = try_open();
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code(), Code::Integrity) << opened.error().message();
    EXPECT_THAT(opened.error().message(), HasSubstr(what));
  }

  fs::path folder_;
  size_t verified_ = 1000;
  Key256 key_{ByteArray<32>{1, 2, 3}};
  crypto::KeyPair signer_ = crypto::KeyPair::generate().value();
  std::unique_ptr<SqliteStore> store_;
};

TEST_F(StoreTest, KeepsRowsAndJournalOverARestart) {
  put("a", "1");
  put("a", "2");
  put("b", "3", "other");
  const JournalHead head = store_->head();
  EXPECT_EQ(head.sequence, 3u);
  reopen();
  EXPECT_EQ(get("a"), "2");
  EXPECT_EQ(get("b"), "3");
  EXPECT_EQ(store_->head().hash, head.hash);
  const auto events = store_->events("s", 10).value();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].text, "a=1");
  EXPECT_EQ(events[1].text, "a=2");
  EXPECT_EQ(store_->events("s", 1).value()[0].text, "a=2");
}

TEST_F(StoreTest, WhatComesByThousandsHidesNoOtherEvents) {
  put("a", "1");
  for (const char* kind : {"tags", "unproven"}) {
    for (int i = 0; i < 150; ++i) {
      const Result<void> done = store_->update([&](Transaction& transaction) -> Result<void> {
        transaction.journal(kind, "s", "");
        return {};
      });
      ASSERT_TRUE(done.ok());
    }
  }
  const auto events = store_->events("s", 1000).value();
  ASSERT_EQ(events.size(), 201u);
  EXPECT_EQ(events[0].text, "a=1");
  EXPECT_EQ(events[100].sequence, 151u);
  EXPECT_EQ(events[101].sequence, 202u);
  EXPECT_EQ(events[200].sequence, 301u);
  EXPECT_EQ(store_->events("s", 50).value().size(), 50u);
}

TEST_F(StoreTest, AnEventsTextIsCutSoThatTheJournalStaysReadable) {
  const std::string huge =
      "\u00e9" + std::string(kMaxEventText - 11, 'x') + "\u00e9\u00e9" + std::string(2 << 20, 'y');
  const Result<void> done = store_->update([&](Transaction& transaction) -> Result<void> {
    transaction.journal("denied", "s", huge);
    return {};
  });
  ASSERT_TRUE(done.ok()) << done.error().message();
  reopen();
  const auto events = store_->events("s", 10).value();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].text, "\u00e9" + std::string(kMaxEventText - 11, 'x') + "\u00e9 [cut]")
      << "no half character";
  EXPECT_LE(events[0].text.size(), kMaxEventText);
}

TEST(JournalPayload, WhatCannotBeReadAgainIsNotWritten) {
  JournalPayload payload;
  payload.text = std::string(1 << 20, 'x');
  EXPECT_TRUE(decode_payload(encode_payload(payload).value()).ok());
  payload.text += 'x';
  EXPECT_EQ(encode_payload(payload).error().code(), Code::Internal);
  payload.text.clear();
  payload.rows.push_back({"t", std::string(4097, 'k'), 1, {}});
  EXPECT_EQ(encode_payload(payload).error().code(), Code::Internal);
  payload.rows.assign(8193, {"t", "k", 1, {}});
  EXPECT_EQ(encode_payload(payload).error().code(), Code::Internal);
}

TEST_F(StoreTest, AFailedChangeLeavesNothing) {
  put("a", "1");
  const Result<void> refused = store_->update([](Transaction& transaction) -> Result<void> {
    transaction.put("t", "a", secret("2"));
    transaction.journal("written", "s", "never");
    return Error(Code::Denied, "no");
  });
  EXPECT_EQ(refused.error().code(), Code::Denied);
  EXPECT_EQ(get("a"), "1");
  EXPECT_EQ(store_->events("s", 10).value().size(), 1u);
}

TEST_F(StoreTest, ATransactionSeesItsOwnWritesAndErasures) {
  put("a", "1");
  const Result<void> done = store_->update([](Transaction& transaction) -> Result<void> {
    transaction.erase("t", "a");
    EXPECT_FALSE(transaction.get("t", "a").value().has_value());
    transaction.put("t", "b", secret("2"));
    EXPECT_EQ(as_text(transaction.get("t", "b").value()->expose()), "2");
    transaction.journal("written", "s", "");
    return {};
  });
  ASSERT_TRUE(done.ok());
  reopen();
  EXPECT_EQ(get("a"), "(none)");
  EXPECT_EQ(get("b"), "2");
}

TEST_F(StoreTest, RacingChangesHaveAnOrder) {
  put("counter", "0");
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([this] {
      for (int n = 0; n < 50; ++n) {
        const Result<void> done = store_->update([](Transaction& transaction) -> Result<void> {
          const auto value = TRY(transaction.get("t", "counter"));
          transaction.put("t", "counter",
                          secret(std::to_string(std::stoi(std::string(as_text(value->expose()))) + 1)));
          transaction.journal("counted", "s", "");
          return {};
        });
        ASSERT_TRUE(done.ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(get("counter"), "400");
  EXPECT_EQ(store_->head().sequence, 401u);
  reopen();
  EXPECT_EQ(get("counter"), "400");
}

TEST_F(StoreTest, NothingReadableStandsInTheFiles) {
  put("a", "a-very-secret-value");
  put("a", std::string(10000, 'x') + "another-secret");
  for (const char* name : {"cas.db", "cas.db-wal"}) {
    const Bytes bytes = read_file(folder_ / name, 1 << 24).value();
    EXPECT_EQ(as_text(bytes).find("secret"), std::string_view::npos) << name;
    EXPECT_EQ(fs::status(folder_ / name).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  }
}

TEST_F(StoreTest, FindsARowThatWasPutBackOrRemoved) {
  put("a", "old");
  execute("CREATE TABLE kept AS SELECT * FROM rows WHERE tab='t'");
  reopen();
  put("a", "new");
  execute("DELETE FROM rows WHERE tab='t'; INSERT INTO rows SELECT * FROM kept");
  expect_refused("t `a` is not what the journal says");
  execute("DELETE FROM rows WHERE tab='t'");
  expect_refused("t `a` is not what the journal says");
}

// What the bound on a start's work costs.
TEST_F(StoreTest, LooksAtNoRowThatTheVerifiedEntriesDidNotWrite) {
  put("a", "old");
  put("c", "kept");
  execute("CREATE TABLE kept AS SELECT * FROM rows WHERE key='a'");
  reopen();
  put("a", "new");
  put("b", "1");
  const std::string put_back = "DELETE FROM rows WHERE key='a'; INSERT INTO rows SELECT * FROM kept;";
  execute(put_back + "UPDATE rows SET value=x'00' WHERE key='c'");
  verified_ = 2;
  expect_refused("t `a` is not what the journal says");
  verified_ = 1;
  reopen();
  EXPECT_EQ(get("a"), "old") << "put back before the newest entry: unnoticed";
  EXPECT_EQ(store_->get("t", "c").error().code(), Code::Integrity) << "changed: noticed when it is read";
  EXPECT_EQ(get("b"), "1");
}

TEST_F(StoreTest, ReadsNoEventThatWasChangedBeforeTheVerifiedEntries) {
  put("a", "1");
  put("b", "2", "other");
  execute("UPDATE journal SET payload=x'00' WHERE sequence=1");
  expect_refused("journal entry 1: payload");
  verified_ = 1;
  reopen();
  EXPECT_EQ(store_->events("s", 10).error().code(), Code::Integrity);
  EXPECT_EQ(store_->events("other", 10).value().size(), 1u);
}

TEST_F(StoreTest, FindsChangedMissingAndUnsignedJournalEntries) {
  for (int i = 0; i < 4; ++i) put("k" + std::to_string(i), "v");
  execute("CREATE TABLE kept AS SELECT * FROM journal");
  const std::string restore = "DELETE FROM journal; INSERT INTO journal SELECT * FROM kept;";
  execute("UPDATE journal SET kind='denied' WHERE sequence=2");
  expect_refused("journal entry 2: signature");
  execute(restore + "UPDATE journal SET payload=x'00' WHERE sequence=3");
  expect_refused("journal entry 3: payload");
  execute(restore + "DELETE FROM journal WHERE sequence=2");
  expect_refused("chain");
  execute(restore + "DELETE FROM journal WHERE sequence=4");
  expect_refused("the journal ends at entry 3, expected 4");
  execute(restore);
  reopen();
}

TEST_F(StoreTest, RefusesOtherKeysAndBrokenFiles) {
  put("a", "1");
  const Key256 right = key_;
  key_ = Key256(ByteArray<32>{9});
  expect_refused("damaged");
  key_ = right;
  signer_ = crypto::KeyPair::generate().value();
  expect_refused("signature");
  fs::remove(folder_ / "cas.db-wal");
  fs::remove(folder_ / "cas.db-shm");
  ASSERT_TRUE(write_private_file(folder_ / "cas.db", as_bytes(std::string(8192, 'x'))).ok());
  expect_refused("damaged");
}

TEST_F(StoreTest, AValueIsBoundToItsRow) {
  const Sealer sealer(key_);
  const Bytes value = {1, 2, 3};
  Bytes sealed = sealer.seal({"t", "a", 1}, value);
  EXPECT_EQ(sealer.open({"t", "a", 1}, sealed).value().expose(), value);
  EXPECT_EQ(sealer.open({"u", "a", 1}, sealed).error().code(), Code::Integrity);
  EXPECT_EQ(sealer.open({"t", "b", 1}, sealed).error().code(), Code::Integrity);
  EXPECT_EQ(sealer.open({"t", "a", 2}, sealed).error().code(), Code::Integrity);
  EXPECT_NE(sealer.seal({"t", "a", 1}, value), sealed);
  sealed.back() ^= 1;
  EXPECT_FALSE(sealer.open({"t", "a", 1}, sealed).ok());
  EXPECT_EQ(sealer.open({"t", "a", 1}, Bytes(10)).error().code(), Code::Integrity);
}

TEST(StateFolder, MakesKeysOnceAndKeepsThem) {
  char name[] = "/tmp/cloister-cas-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const fs::path folder = fs::path(name) / "state";
  crypto::Digest key;
  {
    const StateFolder first = StateFolder::open(folder).value();
    key = first.identity().key.spki_sha256();
    const auto second = StateFolder::open(folder);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.error().code(), Code::Denied);
    EXPECT_THAT(second.error().message(), HasSubstr("used by another process"));
    for (const char* file : {"service-key.pem", "database.key"}) {
      EXPECT_EQ(fs::status(folder / file).permissions(), fs::perms::owner_read | fs::perms::owner_write);
    }
    EXPECT_EQ(fs::status(folder).permissions(), fs::perms::owner_all);
  }
  EXPECT_EQ(StateFolder::open(folder).value().identity().key.spki_sha256(), key);
  ASSERT_TRUE(write_private_file(folder / "cas.db", as_bytes("database")).ok());
  fs::remove(folder / "database.key");
  const auto lost = StateFolder::open(folder);
  ASSERT_FALSE(lost.ok());
  EXPECT_EQ(lost.error().code(), Code::Integrity);
  EXPECT_THAT(lost.error().message(), HasSubstr("has lost a key"));
  fs::remove_all(name);
}

TEST(StateFolder, CallsAKeyLostOnlyWhenItIsMissing) {
  char name[] = "/tmp/cloister-cas-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const fs::path folder = fs::path(name) / "state";
  ASSERT_TRUE(StateFolder::open(folder).ok());
  ASSERT_TRUE(write_private_file(folder / "cas.db", as_bytes("database")).ok());
  const fs::path key = folder / "service-key.pem";
  fs::rename(key, folder / "kept");
  fs::create_directory(key);  // there, but not to be read
  const auto unreadable = StateFolder::open(folder);
  ASSERT_FALSE(unreadable.ok());
  EXPECT_EQ(unreadable.error().code(), Code::Unavailable);
  EXPECT_THAT(unreadable.error().message(), Not(HasSubstr("lost")));
  fs::remove(key);
  ASSERT_TRUE(write_private_file(key, as_bytes("not a key")).ok());
  EXPECT_THAT(StateFolder::open(folder).error().message(), HasSubstr("is not the service's key"));
  fs::rename(folder / "kept", key);
  EXPECT_TRUE(StateFolder::open(folder).ok());
  fs::remove_all(name);
}

TEST(StateFolder, CompletesWhatAStartLeftUnfinished) {
  char name[] = "/tmp/cloister-cas-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const fs::path folder = fs::path(name) / "state";
  ASSERT_TRUE(StateFolder::open(folder).ok());
  const Bytes database_key = read_file(folder / "database.key", 4096).value();
  fs::remove(folder / "service-key.pem");
  EXPECT_TRUE(StateFolder::open(folder).ok()) << "no database yet: nothing can be lost";
  EXPECT_EQ(read_file(folder / "database.key", 4096).value(), database_key);
  EXPECT_TRUE(fs::exists(folder / "service-key.pem"));
  fs::remove_all(name);
}

}  // namespace
}  // namespace cloister::cas

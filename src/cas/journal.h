// The journal's arithmetic: what an entry's hash covers and what its payload says. Each entry names its
// predecessor's hash and is signed by the service's key, so an entry that was changed, left out or moved is
// found by whoever follows the chain; only the chain's end can be cut off unnoticed by somebody who also
// replaces the rows (docs/threat-model.md says so).
//
// A payload also lists the rows that its transaction wrote, with a hash of each sealed value: that ties the
// rows to the journal. A start checks the newest entries only (SqliteStoreOptions), because it must not grow
// with the service's age: a row that these wrote is found when it was put back to an earlier state. One that
// was last written before them is not; a changed one is found when it is read.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "crypto/sha256.h"

namespace cloister::cas {

struct JournalLink {
  uint64_t sequence = 0;      // from 1, without gaps
  crypto::Digest previous{};  // hash of the entry before; zero for the first
  int64_t time = 0;
  std::string kind;
  std::string subject;
  crypto::Digest payload_hash{};  // SHA-256 of the sealed payload
};

// SHA-256 over label, sequence, previous, time, kind, subject and payload hash; texts with their length
// first.
crypto::Digest link_hash(const JournalLink& link);

struct WrittenRow {
  std::string table;
  std::string key;
  uint64_t version = 0;          // 0: erased
  crypto::Digest sealed_hash{};  // zero: erased
};

struct JournalPayload {
  std::string text;
  std::vector<WrittenRow> rows;
};

// Internal when it is larger than `decode_payload` accepts: what cannot be read again must not be written.
Result<Bytes> encode_payload(const JournalPayload& payload);
Result<JournalPayload> decode_payload(ByteView bytes);

}  // namespace cloister::cas

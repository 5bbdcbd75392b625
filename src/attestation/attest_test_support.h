// For tests of the protocol: a session handler that records what it is asked, and a small evidence format of
// the tests' own (report data and a signature under a platform key), for tests that are about the protocol
// and not about quotes. Tests with quotes of the simulated platform are in attest_quote_test.cpp and in
// src/agent.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>

#include "attestation/attest_server.h"

namespace cloister::attestation::testing {

inline crypto::TlsIdentity make_identity(const std::string& name) {
  crypto::KeyPair key = crypto::KeyPair::generate().value();
  crypto::Certificate certificate = crypto::Certificate::self_signed(key, {.common_name = name}).value();
  return {std::move(key), std::move(certificate)};
}

// Signs report data as a platform would.
class SigningPlatform final : public EvidenceVerifier {
 public:
  Bytes evidence(const ReportData& data) const {
    ByteWriter out;
    out.bytes(data).bytes(key_.sign_raw(data).value());
    return out.take();
  }

  Result<std::shared_ptr<const Verdict>> verify(EvidenceKind, ByteView quote, ByteView,
                                                const ReportData& expected) override {
    ByteReader in(quote, "evidence");
    const ReportData data = TRY(in.array<64>());
    const crypto::RawSignature signature = TRY(in.array<64>());
    TRY(in.expect_end());
    if (!key_.public_key().verify_raw(data, signature)) return Error(Code::Integrity, "signature");
    if (!equal_constant_time(data, expected)) return Error(Code::Denied, "report data differs");
    // The protocol only passes the verdict on; its content does not matter here.
    return std::shared_ptr<const Verdict>(std::shared_ptr<void>(), reinterpret_cast<const Verdict*>(this));
  }

 private:
  crypto::KeyPair key_ = crypto::KeyPair::generate().value();
};

struct Refused {
  std::string subject;
  DenialCode code;
  std::string detail;
};

// Releases `configuration` to whoever asks for "session/service" and keeps one tag per volume.
class RecordingHandler : public AttestHandler {
 public:
  Result<Release> on_attest(const Verdict&, const AttestRequest& request, const Peer& peer) override {
    const std::lock_guard lock(mutex_);
    ++attested;
    if (request.subject != "session/service") return Error(Code::Denied, "no such session");
    last_request = request;
    key = peer.key;
    Release release;
    release.instance_id = instance;
    release.configuration = SecretBytes(configuration);
    return release;
  }
  Result<void> on_resume(const ByteArray<16>& id, const Peer& peer) override {
    const std::lock_guard lock(mutex_);
    if (id != instance || peer.key != key) return Error(Code::Denied, "not the key of this instance");
    ++resumed;
    return {};
  }
  Result<void> on_tags(const ByteArray<16>& id, const Peer&, std::span<const TagUpdate> updates) override {
    const std::lock_guard lock(mutex_);
    CLOISTER_CHECK(id == instance);
    for (const TagUpdate& update : updates) {
      if (update.epoch != epoch) return Error(Code::Denied, "another instance writes now");
      const ByteArray<16>& tag = tags[update.volume];
      if (tag != update.previous && tag != update.next) return Error(Code::Integrity, "unknown previous tag");
    }
    for (const TagUpdate& update : updates) tags[update.volume] = update.next;
    ++batches;
    return {};
  }
  void on_exit(const ByteArray<16>&, const Peer&, int32_t status) override {
    const std::lock_guard lock(mutex_);
    exit_status = status;
  }
  void on_disconnect(const ByteArray<16>&, const Peer&) override {
    const std::lock_guard lock(mutex_);
    ++disconnected;
    changed_.notify_all();
  }
  void on_refused(const Peer&, std::string_view subject, DenialCode code, const Error& detail) override {
    const std::lock_guard lock(mutex_);
    refused.push_back({std::string(subject), code, detail.message()});
    changed_.notify_all();
  }

  template <class Condition>
  bool eventually(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), condition);
  }

  ByteArray<16> instance{1, 2, 3};
  Bytes configuration = {1, 2, 3, 4};
  uint64_t epoch = 7;
  std::map<std::string, ByteArray<16>> tags;
  AttestRequest last_request;
  crypto::Digest key{};
  std::vector<Refused> refused;
  int attested = 0, resumed = 0, batches = 0, disconnected = 0;
  std::optional<int32_t> exit_status;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace cloister::attestation::testing

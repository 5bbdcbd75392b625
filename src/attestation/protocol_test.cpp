// The protocol's pieces without a network: binding, nonces, messages.
#include <gtest/gtest.h>

#include <functional>

#include "attestation/messages.h"
#include "attestation/nonce_store.h"

namespace cloister::attestation {
namespace {

using namespace std::chrono_literals;

Binding example() {
  Binding binding;
  binding.nonce.fill(0x01);
  binding.exporter.fill(0x02);
  binding.own_key.fill(0x03);
  binding.peer_key.fill(0x04);
  binding.subject = "session/service";
  binding.runtime_config_hash.fill(0x05);
  return binding;
}

// The vector of docs/formats/attest-protocol.md, computed there independently (Python's hashlib).
TEST(Binding, AgreesWithTheDocumentedVector) {
  EXPECT_EQ(to_hex(report_data_for(example())),
            "e631d1ce133fc223ff24dd5da1e0d3a14c003c336042e8f2a97a65acda607458"
            "9450974eebe17e4ec739a7b76ba95016f10f446c2d7d6af60fcdf8ecf2d3087c");
  AttestRequest request;
  request.one_time_password = "123456";
  request.host_arguments = {"a", "b"};
  EXPECT_EQ(to_hex(runtime_config_hash(request)),
            "cffc3b7e2c618b7d8f5ca7e820843a2a4251b7c6dd6c994e4a2300bf608d756e");
}

TEST(Binding, AccessProofsAgreeWithTheDocumentedVector) {
  const crypto::Digest channel = channel_hash(example());
  EXPECT_EQ(to_hex(access_proof("open-sesame", Role::Enclave, channel, "session/service")),
            "cd366228c228096d1802526813a6a258a91f94fc677ce7ef16fdd8c9099752a5");
  EXPECT_EQ(to_hex(access_proof("open-sesame", Role::Service, channel, "session/service")),
            "6c74867c0415fb97e0cf6a4f657e49d6e1404d9d838343672ad546a4cb62dfe7");
}

TEST(Binding, EveryFieldCounts) {
  const ReportData original = report_data_for(example());
  const std::function<void(Binding&)> changes[] = {
      [](Binding& b) { b.role = Role::Service; },
      [](Binding& b) { b.nonce[31] ^= 1; },
      [](Binding& b) { b.exporter[0] ^= 1; },
      [](Binding& b) { b.own_key[0] ^= 1; },
      [](Binding& b) { b.peer_key[0] ^= 1; },
      [](Binding& b) { b.subject += "x"; },
      [](Binding& b) { b.runtime_config_hash[0] ^= 1; },
      [](Binding& b) { std::swap(b.own_key, b.peer_key); },
  };
  for (const auto& change : changes) {
    Binding binding = example();
    change(binding);
    EXPECT_NE(report_data_for(binding), original);
  }
}

TEST(RuntimeConfigHash, ArgumentsCannotShiftIntoEachOther) {
  AttestRequest one, two, three;
  one.host_arguments = {"ab", "c"};
  two.host_arguments = {"a", "bc"};
  three.host_arguments = {"abc"};
  EXPECT_NE(runtime_config_hash(one), runtime_config_hash(two));
  EXPECT_NE(runtime_config_hash(one), runtime_config_hash(three));
}

TEST(NonceStore, ANonceIsGoodOnce) {
  NonceStore store(1s);
  const Nonce nonce = store.issue();
  EXPECT_TRUE(store.consume(nonce).ok());
  EXPECT_EQ(store.consume(nonce).error().code(), Code::Denied);
  EXPECT_FALSE(store.consume(Nonce{}).ok());
  EXPECT_EQ(store.size(), 0u);
}

TEST(NonceStore, ANonceExpiresAndIsUsedUpByTheAttempt) {
  NonceStore store(1s);
  const auto begin = NonceStore::Clock::now();
  const Nonce at_limit = store.issue(begin);
  const Nonce late = store.issue(begin);
  EXPECT_TRUE(store.consume(at_limit, begin + 1s).ok());
  EXPECT_FALSE(store.consume(late, begin + 1001ms).ok());
  EXPECT_FALSE(store.consume(late, begin).ok());
}

TEST(NonceStore, AFullStoreForgetsTheOldest) {
  NonceStore store(1h, 3);
  const auto begin = NonceStore::Clock::now();
  const Nonce oldest = store.issue(begin);
  const Nonce second = store.issue(begin + 1ms);
  store.issue(begin + 2ms);
  store.issue(begin + 3ms);
  EXPECT_EQ(store.size(), 3u);
  EXPECT_FALSE(store.consume(oldest, begin + 4ms).ok());
  EXPECT_TRUE(store.consume(second, begin + 4ms).ok());
}

TEST(NonceStore, ExpiredOnesAreCollected) {
  NonceStore store(1s);
  const auto begin = NonceStore::Clock::now();
  for (int i = 0; i < 10; ++i) store.issue(begin);
  store.issue(begin + 2s);
  EXPECT_EQ(store.size(), 1u);
}

template <class Encoded, class Decode>
void refuses_every_damage(const Encoded& encoded, Decode decode) {
  const Bytes bytes = [&] {
    if constexpr (std::is_same_v<Encoded, SecretBytes>)
      return encoded.expose();
    else
      return encoded;
  }();
  ASSERT_TRUE(decode(bytes).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(decode(ByteView(bytes).first(size)).error().code(), Code::Malformed) << size;
  }
  Bytes longer = bytes;
  longer.push_back(0);
  EXPECT_EQ(decode(longer).error().code(), Code::Malformed);
}

AttestRequest full_request() {
  AttestRequest request;
  request.nonce.fill(9);
  request.subject = "s/t";
  request.one_time_password = "o";
  request.access_proof = crypto::Digest{3};
  request.host_arguments = {"", "x"};
  request.quote = {1, 2, 3};
  request.collateral = {4};
  return request;
}

TEST(Messages, DecodeOnlyWhenComplete) {
  refuses_every_damage(encode(ServerHello{}), decode_server_hello);
  refuses_every_damage(encode(full_request()), decode_attest_request);
  Released released;
  released.configuration = SecretBytes(Bytes{1, 2});
  refuses_every_damage(encode(released), decode_released);
  refuses_every_damage(encode(Denial{DenialCode::Busy, "later"}), decode_denial);
  refuses_every_damage(encode(Resume{}), decode_resume);
  refuses_every_damage(encode(TagBatch{1, {{"v", {}, {1}, 2}}}), decode_tag_batch);
  refuses_every_damage(encode(ExitNotice{1, -1}), decode_exit_notice);
  refuses_every_damage(encode(Reply{3, DenialCode::TagRefused, "no"}), decode_reply);
}

TEST(Messages, ARequestRoundTrips) {
  const AttestRequest request = full_request();
  const AttestRequest back = decode_attest_request(encode(request)).value();
  EXPECT_EQ(back.nonce, request.nonce);
  EXPECT_EQ(back.subject, request.subject);
  EXPECT_EQ(back.one_time_password, request.one_time_password);
  EXPECT_EQ(back.access_proof, request.access_proof);
  EXPECT_EQ(back.host_arguments, request.host_arguments);
  EXPECT_EQ(back.quote, request.quote);
  EXPECT_EQ(back.collateral, request.collateral);
}

TEST(Messages, RequestsKeepTheirLimits) {
  const std::pair<const char*, std::function<void(AttestRequest&)>> cases[] = {
      {"no session", [](AttestRequest& r) { r.subject.clear(); }},
      {"long session", [](AttestRequest& r) { r.subject.assign(kMaxSubject + 1, 'x'); }},
      {"line feed in the session", [](AttestRequest& r) { r.subject = "a\nb"; }},
      {"long password", [](AttestRequest& r) { r.one_time_password.assign(kMaxOneTimePassword + 1, 'x'); }},
      {"many arguments", [](AttestRequest& r) { r.host_arguments.assign(kMaxHostArguments + 1, ""); }},
      {"long argument", [](AttestRequest& r) { r.host_arguments[0].assign(kMaxHostArgument + 1, 'x'); }},
      {"NUL in an argument", [](AttestRequest& r) { r.host_arguments[0] = std::string(1, '\0'); }},
      {"long quote", [](AttestRequest& r) { r.quote.resize(kMaxQuote + 1); }},
      {"long collateral", [](AttestRequest& r) { r.collateral.resize(kMaxCollateral + 1); }},
  };
  for (const auto& [what, damage] : cases) {
    AttestRequest request = full_request();
    damage(request);
    EXPECT_EQ(decode_attest_request(encode(request)).error().code(), Code::Malformed) << what;
  }
}

TEST(Messages, TagBatchesAreNotEmptyAndNameAVolumeOnce) {
  EXPECT_FALSE(decode_tag_batch(encode(TagBatch{1, {}})).ok());
  EXPECT_FALSE(decode_tag_batch(encode(TagBatch{1, {{"v", {}, {}, 1}, {"v", {}, {}, 1}}})).ok());
  EXPECT_FALSE(decode_tag_batch(encode(TagBatch{1, {{"", {}, {}, 1}}})).ok());
}

TEST(Messages, SuccessAndRefusalCannotBeMixedUp) {
  EXPECT_FALSE(decode_denial(encode(Denial{DenialCode::None, ""})).ok());
  EXPECT_FALSE(decode_reply(encode(Reply{1, DenialCode::None, "but"})).ok());
  EXPECT_FALSE(decode_reply(encode(Reply{1, static_cast<DenialCode>(11), ""})).ok());
}

}  // namespace
}  // namespace cloister::attestation

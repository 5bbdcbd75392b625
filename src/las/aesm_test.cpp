// AESM's protocol over a real socket, against a server that plays AESM, honest and not. The honest one has
// the simulated quoting enclave behind it, so a quote goes the whole way from a report to the verifier.
#include "las/aesm.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <thread>

#include "attestation/evidence_verifier.h"
#include "attestation/las_client.h"
#include "crypto/random.h"
#include "las/server.h"

namespace cloister::las {
namespace {

using namespace attestation;
using std::chrono::milliseconds;

// ---- The other side's encoding, written down again.

void varint(Bytes& out, uint64_t value) {
  while (value > 127) {
    out.push_back(static_cast<uint8_t>(128 | (value & 127)));
    value >>= 7;
  }
  out.push_back(static_cast<uint8_t>(value));
}
Bytes number(uint32_t field, uint64_t value) {
  Bytes out;
  varint(out, field * 8);
  varint(out, value);
  return out;
}
Bytes text(uint32_t field, ByteView value) {
  Bytes out;
  varint(out, field * 8 + 2);
  varint(out, value.size());
  out.insert(out.end(), value.begin(), value.end());
  return out;
}
Bytes operator+(Bytes left, const Bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}
Bytes framed(const Bytes& message) {
  Bytes out(4);
  store_le(out.data(), static_cast<uint32_t>(message.size()));
  return out + message;
}

// Answers each connection with what the script makes of the question, as raw bytes; nothing: hangs up.
class FakeAesm {
 public:
  using Script = std::function<Bytes(ByteView question)>;
  explicit FakeAesm(Script script) : script_(std::move(script)) {
    char name[] = "/tmp/cloister-aesm-XXXXXX";
    folder_ = mkdtemp(name);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path().c_str(), sizeof(address.sun_path) - 1);
    listener_ = Socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(listener_.fd(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listener_.fd(), 16), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeAesm() {
    stop_ = true;
    listener_.shutdown();
    thread_.join();
    std::filesystem::remove_all(folder_);
  }
  std::filesystem::path path() const { return folder_ / "aesm.socket"; }
  bool silent = false;

 private:
  void serve() {
    for (;;) {
      const Socket peer(::accept(listener_.fd(), nullptr, nullptr));
      if (!peer.valid()) return;
      uint32_t size = 0;
      if (::recv(peer.fd(), &size, 4, MSG_WAITALL) != 4 || size > 65536) continue;
      Bytes question(size);
      if (::recv(peer.fd(), question.data(), size, MSG_WAITALL) != static_cast<ssize_t>(size)) continue;
      const Bytes reply = script_(question);
      (void)::send(peer.fd(), reply.data(), reply.size(), MSG_NOSIGNAL);
      while (silent && !stop_) std::this_thread::sleep_for(milliseconds(5));
    }
  }
  Script script_;
  std::filesystem::path folder_;
  Socket listener_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

AesmOptions options_for(const FakeAesm& aesm) {
  AesmOptions options;
  options.socket = aesm.path();
  options.timeout = milliseconds(1000);
  return options;
}

uint32_t asked(ByteView question) {  // the field number of a two-byte tag, or of a one-byte one
  return question[0] < 128 ? question[0] / 8u : (question[0] % 128u + question[1] * 128u) / 8u;
}

Bytes key_id(uint32_t algorithm) {
  Bytes id(kAttestationKeyIdSize);
  store_le(id.data() + 154, algorithm);
  id[10] = 0x77;
  return id;
}

class HonestAesm {
 public:
  HonestAesm() {
    char name[] = "/tmp/cloister-aesm-pki-XXXXXX";
    folder_ = mkdtemp(name);
    platform_.emplace(sgx::SimPlatform::open(folder_ / "machine").value());
    pki_.emplace(SimPki::open(folder_ / "pki", *platform_).value());
  }
  ~HonestAesm() { std::filesystem::remove_all(folder_); }

  Bytes reply(ByteView question) {
    const uint32_t message = asked(question);
    switch (message) {
      case 21:
        return framed(text(21, number(1, 0) + number(2, 2)));
      case 22:
        return framed(text(22, number(1, 0) + text(2, key_id(0) + key_id(2))));
      case 15: {
        const sgx::TargetInfo target = pki_->target_info();
        return framed(text(15, number(1, 0) + text(2, object_bytes(target)) + number(3, 32)));
      }
      case 16:
        return framed(text(16, number(1, 0) + number(2, 20'000)));
      case 17: {
        // tag 2, size 2 or more, then field 1: the report.
        const size_t at =
            std::search(question.begin() + 2, question.end(), kReportField.begin(), kReportField.end()) -
            question.begin();
        sgx::Report report;
        if (question.size() < at + 3 + sizeof(report)) return {};
        std::memcpy(&report, question.data() + at + 3, sizeof(report));
        const auto quote = pki_->quote(report);
        if (!quote.ok()) return framed(text(17, number(1, 3)));
        Bytes whole = *quote;
        whole.resize(20'000);  // AESM returns the buffer
        return framed(text(17, number(1, 0) + text(2, whole)));
      }
      default:
        return framed(text(20, number(1, 1)));
    }
  }
  const sgx::SimPlatform& platform() const { return *platform_; }
  const SimPki& pki() const { return *pki_; }
  std::filesystem::path root() const { return folder_ / "pki" / "simulation-root.pem"; }

 private:
  const Bytes kReportField = {0x0a, 0xb0, 0x03};  // field 1, 432 bytes
  std::filesystem::path folder_;
  std::optional<sgx::SimPlatform> platform_;
  std::optional<SimPki> pki_;
};

// Known answers, made by hand after the rules of Protocol Buffers.
TEST(Aesm, QuestionsAreEncodedAsProto2) {
  AesmRequest request;
  request.message = AesmMessage::GetSupportedAttKeyIDNum;
  request.timeout_us = 1'000'000;
  EXPECT_EQ(to_hex(encode(request)), "aa010448c0843d");
  request.message = AesmMessage::GetSupportedAttKeyIDs;
  request.buffer_size = 512;
  EXPECT_EQ(to_hex(encode(request)), "b2010708800448c0843d");
  request.key_id = {0xaa, 0xbb};
  request.message = AesmMessage::InitQuoteEx;
  EXPECT_EQ(to_hex(encode(request)), "7a0a0a02aabb180048c0843d");
  request.with_public_key = true;
  EXPECT_EQ(to_hex(encode(request)), "7a0d0a02aabb180120800448c0843d");
  request.message = AesmMessage::GetQuoteSizeEx;
  EXPECT_EQ(to_hex(encode(request)), "8201080a02aabb48c0843d");
  request.message = AesmMessage::GetQuoteEx;
  request.report = {0x01};
  EXPECT_EQ(to_hex(encode(request)), "8a010e0a01011202aabb20800448c0843d");
}

TEST(Aesm, AnswersAreDecodedStrictly) {
  const auto decode = [](const Bytes& bytes) {
    return decode_aesm_reply(AesmMessage::GetQuoteSizeEx, bytes);
  };
  const auto good = decode(text(16, number(1, 0) + number(2, 4600)));
  ASSERT_TRUE(good.ok());
  EXPECT_EQ(good->number, 4600U);
  // Fields that a later version may add are passed over, of each kind.
  const Bytes later =
      number(77, 5) + Bytes{0x9d, 0x06, 1, 2, 3, 4} + Bytes{0x99, 0x06, 1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_TRUE(decode(later + text(16, later + number(1, 0) + later + number(2, 4600)) + later).ok());

  const Bytes whole = text(16, number(1, 0) + number(2, 4600));
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_EQ(decode(Bytes(whole.begin(), whole.begin() + static_cast<long>(size))).error().code(),
              Code::Malformed);
  for (const Bytes& bad :
       {whole + whole, text(17, number(1, 0)), text(16, {}), text(16, number(2, 1)), number(16, 1),
        text(16, text(1, Bytes{0})), text(16, number(1, 0) + number(1, 0)),
        text(16, number(1, 0) + text(2, Bytes{1})), text(16, number(1, 0) + number(2, uint64_t{1} << 32)),
        Bytes{0x00, 0x00}, Bytes{0x83, 0x01, 0x00},
        Bytes{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01},
        Bytes{0x82, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
        Bytes(kMaxAesmReply + 1)}) {
    const auto reply = decode(bad);
    ASSERT_FALSE(reply.ok()) << to_hex(bad).substr(0, 60);
    EXPECT_EQ(reply.error().code(), Code::Malformed);
  }
}

TEST(Aesm, AQuoteGoesTheWholeWayThroughTheLas) {
  HonestAesm honest;
  FakeAesm aesm([&](ByteView question) { return honest.reply(question); });
  auto quoter = aesm_quoter(options_for(aesm));
  ASSERT_TRUE(quoter.ok()) << quoter.error().message();
  LasServerOptions server_options;
  server_options.address = "127.0.0.1:0";
  const auto server = LasServer::start(server_options, std::move(*quoter)).value();
  EXPECT_EQ(server->status().mode, LasMode::Hardware);

  LasClientOptions client_options;
  client_options.address = server->address();
  LasClient client = LasClient::connect(client_options).value();
  EXPECT_EQ(client.mode(), LasMode::Hardware);
  sgx::TargetInfo target;
  std::memcpy(&target, client.target_info().data(), sizeof(target));
  const ByteArray<64> data = crypto::random_array<64>();
  const sgx::Report report = honest.platform().make_report(sgx::Secs{}, target, data);
  ByteArray<432> bytes;
  std::memcpy(bytes.data(), &report, bytes.size());
  const auto quote = client.quote(bytes);
  ASSERT_TRUE(quote.ok()) << quote.error().message();
  EXPECT_TRUE(quote->collateral.empty());
  EXPECT_LT(quote->quote.size(), 20'000U);

  std::vector<TrustAnchor> anchors = {intel_sgx_root()};
  ASSERT_TRUE(add_simulation_root(honest.root(), anchors).ok());
  const int64_t now = std::time(nullptr);
  const auto trusted = trust_collateral(honest.pki().collateral(now).value(), anchors);
  ASSERT_TRUE(trusted.ok());
  EXPECT_TRUE(verify_quote(quote->quote, **trusted, now, data).ok());

  // Another machine's report: AESM's quoting enclave finds the wrong MAC.
  bytes[430] ^= 1;
  const auto refused = client.quote(bytes);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("error 3"), std::string::npos) << refused.error().message();
}

// What does not change is asked for once.
TEST(Aesm, AQuoteIsOneQuestion) {
  HonestAesm honest;
  std::vector<uint32_t> questions;
  FakeAesm aesm([&](ByteView question) {
    questions.push_back(asked(question));
    return honest.reply(question);
  });
  const auto quoter = aesm_quoter(options_for(aesm)).value();
  EXPECT_EQ(questions, (std::vector<uint32_t>{21, 22, 15, 15, 16}));
  questions.clear();
  for (size_t i = 0; i < 3; ++i) {
    const sgx::TargetInfo target = quoter->target_info().value();
    EXPECT_TRUE(quoter->quote(honest.platform().make_report(sgx::Secs{}, target, {})).ok());
  }
  EXPECT_EQ(questions, (std::vector<uint32_t>{17, 17, 17}));
}

// AESM starts anew, and refuses quotes until it is asked for its enclave and key.
TEST(Aesm, ARefusedQuoteIsTriedOnceMoreWithWhatIsNewlyAsked) {
  HonestAesm honest;
  std::vector<uint32_t> questions;
  bool initialised = true, stubborn = false, other = false;
  FakeAesm aesm([&](ByteView question) {
    const uint32_t message = asked(question);
    questions.push_back(message);
    if (message == 17 && (stubborn || !initialised)) return framed(text(17, number(1, 42)));
    if (message != 15) return honest.reply(question);
    initialised = true;
    sgx::TargetInfo target = honest.pki().target_info();
    if (other) target.mrenclave[0] ^= 1;
    return framed(text(15, number(1, 0) + text(2, object_bytes(target)) + number(3, 32)));
  });
  const auto quoter = aesm_quoter(options_for(aesm)).value();
  const sgx::TargetInfo target = quoter->target_info().value();
  const sgx::Report report = honest.platform().make_report(sgx::Secs{}, target, {});
  const std::vector<uint32_t> twice = {17, 15, 15, 16, 17};
  initialised = false;
  questions.clear();
  EXPECT_TRUE(quoter->quote(report).ok());
  EXPECT_EQ(questions, twice);

  stubborn = true;
  questions.clear();
  const auto refused = quoter->quote(report);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("error 42"), std::string::npos) << refused.error().message();
  EXPECT_EQ(questions, twice);

  // Another quoting enclave cannot check a report that was made for the former one.
  other = true;
  const auto outdated = quoter->quote(report);
  ASSERT_FALSE(outdated.ok());
  EXPECT_EQ(outdated.error().code(), Code::Unavailable);
  EXPECT_NE(outdated.error().message().find("another quoting enclave"), std::string::npos);
  const sgx::TargetInfo now = quoter->target_info().value();
  EXPECT_NE(std::memcmp(&now, &target, sizeof(target)), 0);
}

// Each answer is in time; all of them together are not.
TEST(Aesm, TheQuestionsOfAQuoteShareOneDeadline) {
  HonestAesm honest;
  std::atomic<int> pause_ms{0};
  FakeAesm aesm([&](ByteView question) {
    std::this_thread::sleep_for(milliseconds(pause_ms));
    return asked(question) == 17 ? framed(text(17, number(1, 42))) : honest.reply(question);
  });
  const auto quoter = aesm_quoter(options_for(aesm)).value();
  pause_ms = 600;
  const auto begin = std::chrono::steady_clock::now();
  const auto quote = quoter->quote(sgx::Report{});
  ASSERT_FALSE(quote.ok());
  EXPECT_NE(quote.error().message().find("timed out"), std::string::npos) << quote.error().message();
  const auto start = aesm_quoter(options_for(aesm), milliseconds(1000));
  ASSERT_FALSE(start.ok());
  EXPECT_NE(start.error().message().find("timed out"), std::string::npos) << start.error().message();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(3500)) << "2 s, and time to be slow";
}

// Root may use every socket, so this thread stops being it for a while.
class AsNobody {
 public:
  AsNobody() { become(kNobody); }
  ~AsNobody() { become(0); }

 private:
  static constexpr uid_t kNobody = 65534;
  void become(uid_t user) {
    if (!root_) return;
    EXPECT_EQ(::syscall(SYS_setresuid, -1, user, -1), 0);
  }
  const bool root_ = ::geteuid() == 0;
};

TEST(Aesm, ASocketThatThisUserMayNotUseSaysWhatToDo) {
  HonestAesm honest;
  FakeAesm aesm([&](ByteView question) { return honest.reply(question); });
  const auto quoter = aesm_quoter(options_for(aesm)).value();
  ASSERT_EQ(::chmod(aesm.path().c_str(), 0), 0);
  const AsNobody nobody;
  const auto start = aesm_quoter(options_for(aesm));
  ASSERT_FALSE(start.ok());
  EXPECT_EQ(start.error().code(), Code::Denied) << start.error().message();
  EXPECT_NE(start.error().message().find(aesm.path().string()), std::string::npos);
  EXPECT_NE(start.error().hint().find("usermod -aG"), std::string::npos) << start.error().hint();
  EXPECT_NE(start.error().hint().find("sgx_prv"), std::string::npos) << start.error().hint();
  // A quoter's Denied is about a report.
  const auto quote = quoter->quote(sgx::Report{});
  ASSERT_FALSE(quote.ok());
  EXPECT_EQ(quote.error().code(), Code::Unavailable);
  EXPECT_EQ(quote.error().hint(), start.error().hint());
}

// One false answer at each place of the conversation.
TEST(Aesm, HostileAnswersAreErrors) {
  HonestAesm honest;
  const std::vector<std::function<Bytes(Bytes)>> damages = {
      [](Bytes) { return Bytes(); },                                          // hangs up
      [](Bytes whole) { return Bytes(whole.begin(), whole.begin() + 3); },    // in the size
      [](Bytes whole) { return Bytes(whole.begin(), whole.end() - 1); },      // in the message
      [](Bytes whole) { return store_le(whole.data(), UINT32_MAX), whole; },  // far too large
      [](Bytes whole) { return store_le(whole.data(), uint32_t{kMaxAesmReply + 1}), whole; },
      [](Bytes) { return framed({}); },
      [](Bytes whole) { return whole[4] ^= 0x08, whole; },   // about something else
      [](Bytes) { return framed(text(20, number(1, 1))); },  // "unsupported"
  };
  sgx::Report report{};
  for (uint32_t message : {21u, 22u, 15u, 16u, 17u}) {
    for (size_t i = 0; i <= damages.size(); ++i) {
      FakeAesm aesm([&](ByteView question) {
        const Bytes whole = honest.reply(question);
        if (asked(question) != message) return whole;
        return i < damages.size() ? damages[i](whole) : framed(text(message, number(1, 13)));
      });
      auto quoter = aesm_quoter(options_for(aesm), milliseconds(1000));
      Error error(Code::Internal, "no error");
      if (!quoter.ok()) {
        error = quoter.error();
      } else {
        ASSERT_GE(message, 16U) << "damage " << i;
        const sgx::TargetInfo target = (*quoter)->target_info().value();
        report = honest.platform().make_report(sgx::Secs{}, target, {});
        const auto quote = (*quoter)->quote(report);
        ASSERT_FALSE(quote.ok()) << "message " << message << ", damage " << i;
        error = quote.error();
      }
      EXPECT_TRUE(error.code() == Code::Unavailable || error.code() == Code::Malformed) << error.message();
      EXPECT_NE(error.message().find("AESM"), std::string::npos) << error.message();
      if (i == damages.size()) {
        EXPECT_NE(error.message().find("error 13"), std::string::npos);
      }
    }
  }
}

TEST(Aesm, ContentsThatDoNotFitAreErrors) {
  HonestAesm honest;
  const auto quote_of = [&](uint32_t message, const Bytes& body) -> Result<Bytes> {
    FakeAesm aesm([&](ByteView question) {
      return asked(question) == message ? framed(text(message, number(1, 0) + body)) : honest.reply(question);
    });
    const auto quoter = TRY(aesm_quoter(options_for(aesm), milliseconds(1000)));
    return quoter->quote(sgx::Report{});
  };
  Bytes too_long_inside(1000);
  store_le(too_long_inside.data() + 432, uint32_t{565});
  for (const auto& [message, body] : std::vector<std::pair<uint32_t, Bytes>>{
           {21, number(2, 17)},
           {22, text(2, Bytes(255))},
           {22, text(2, Bytes(1024))},
           {15, number(3, 32) + text(2, Bytes(511))},
           {15, number(3, 32)},
           {15, number(3, 1 << 20)},
           {16, number(2, 435)},
           {16, number(2, 65'537)},
           {16, {}},
           {17, {}},
           {17, text(2, Bytes(435))},
           {17, text(2, Bytes(20'001))},
           {17, text(2, too_long_inside)},
       }) {
    const auto quote = quote_of(message, body);
    ASSERT_FALSE(quote.ok()) << message << ": " << to_hex(body).substr(0, 40);
    EXPECT_EQ(quote.error().code(), Code::Malformed) << quote.error().message();
  }
  store_le(too_long_inside.data() + 432, uint32_t{564});
  EXPECT_TRUE(quote_of(17, text(2, too_long_inside)).ok());
  const auto epid_only = quote_of(22, text(2, key_id(0) + key_id(1)));
  ASSERT_FALSE(epid_only.ok());
  EXPECT_EQ(epid_only.error().code(), Code::Unsupported);
}

TEST(Aesm, AbsentAndSilentServicesCostABoundedTime) {
  AesmOptions options;
  options.socket = "/tmp/no-such-folder/aesm.socket";
  const auto absent = aesm_quoter(options);
  ASSERT_FALSE(absent.ok());
  EXPECT_EQ(absent.error().code(), Code::Unavailable);
  EXPECT_NE(absent.error().hint().find("cloister doctor"), std::string::npos);
  options.socket = std::string(200, 'x');
  EXPECT_FALSE(aesm_quoter(options).ok());

  FakeAesm aesm([](ByteView) { return Bytes{1}; });
  aesm.silent = true;
  const auto begin = std::chrono::steady_clock::now();
  const auto silent = aesm_quoter(options_for(aesm), milliseconds(200));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));
  ASSERT_FALSE(silent.ok());
  EXPECT_EQ(silent.error().code(), Code::Unavailable);
}

}  // namespace
}  // namespace cloister::las

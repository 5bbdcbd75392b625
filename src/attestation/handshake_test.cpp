// Every test here runs the real server and real TLS on loopback. The attacks come from a client that may send
// anything: `Attacker` speaks frames and chooses each field.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <thread>

#include "attestation/attest_client.h"
#include "attestation/attest_test_support.h"

namespace cloister::attestation {
namespace {

using namespace std::chrono_literals;
using testing::make_identity;
using testing::RecordingHandler;
using testing::SigningPlatform;

crypto::TlsStream connect_raw(const std::string& address, const crypto::TlsIdentity& identity) {
  const crypto::TlsContext context = crypto::TlsContext::client(identity, {}).value();
  return context.connect(connect_tcp(address, deadline_in(5s)).value(), deadline_in(5s)).value();
}

// One connection with full control over what is sent.
struct Attacker {
  explicit Attacker(const std::string& address, const crypto::TlsIdentity& identity)
      : stream(connect_raw(address, identity)) {
    hello = decode_server_hello(read_frame(stream, deadline_in(5s)).value().payload.expose()).value();
    binding.nonce = hello.nonce;
    binding.exporter = stream.exporter(crypto::kChannelBindingLabel).value();
    binding.own_key = stream.own_spki_sha256();
    binding.peer_key = *stream.peer_spki_sha256();
    binding.subject = "session/service";
    request.nonce = hello.nonce;
    request.subject = "session/service";
    binding.runtime_config_hash = runtime_config_hash(request);
  }

  // The answer to `request`: None when released.
  DenialCode send() {
    CLOISTER_CHECK(write_frame(stream, MessageType::AttestRequest, encode(request), deadline_in(5s)).ok());
    const Frame frame = read_frame(stream, deadline_in(5s)).value();
    if (frame.type == MessageType::Released) return DenialCode::None;
    return decode_denial(frame.payload.expose()).value().code;
  }

  crypto::TlsStream stream;
  ServerHello hello;
  Binding binding;
  AttestRequest request;
};

class Handshake : public ::testing::Test {
 protected:
  void SetUp() override { start({}); }

  void start(AttestServerOptions options) {
    server_.reset();
    options.address = "127.0.0.1:0";
    server_ = AttestServer::start(options, service_, platform_, handler_).value();
  }
  AttestClientOptions client_options() const {
    AttestClientOptions options;
    options.address = server_->address();
    options.service_key = service_.key.spki_sha256();
    return options;
  }
  Attacker attacker() const { return Attacker(server_->address(), instance_); }
  Result<Released> attest(AttestClient& client, AttestRequest request) {
    request.quote = platform_.evidence(client.report_data(request).value());
    return client.attest(std::move(request));
  }
  static AttestRequest request() {
    AttestRequest request;
    request.subject = "session/service";
    request.one_time_password = "otp";
    request.host_arguments = {"a", "b c"};
    return request;
  }
  std::string last_detail() { return handler_.refused.empty() ? "" : handler_.refused.back().detail; }

  SigningPlatform platform_;
  RecordingHandler handler_;
  crypto::TlsIdentity service_ = make_identity("cas");
  crypto::TlsIdentity instance_ = make_identity("instance");
  std::unique_ptr<AttestServer> server_;
};

// --- what must work

TEST_F(Handshake, ReleasesTheConfigurationToBoundEvidence) {
  AttestClient client = AttestClient::connect(client_options(), instance_).value();
  const Released released = attest(client, request()).value();
  EXPECT_EQ(released.configuration.expose(), handler_.configuration);
  EXPECT_EQ(released.instance_id, handler_.instance);
  EXPECT_EQ(handler_.key, instance_.key.spki_sha256());
  EXPECT_EQ(handler_.last_request.host_arguments, request().host_arguments);
  EXPECT_EQ(handler_.last_request.one_time_password, "otp");
  EXPECT_TRUE(handler_.refused.empty());
}

TEST_F(Handshake, CarriesAConfigurationOfMegabytes) {
  handler_.configuration = Bytes(5'000'000, 0x77);
  AttestClient client = AttestClient::connect(client_options(), instance_).value();
  EXPECT_EQ(attest(client, request()).value().configuration.expose(), handler_.configuration);
}

TEST_F(Handshake, TagsFollowOnTheSameConnectionAndOnALaterOne) {
  ByteArray<16> first{1}, second{2}, third{3};
  {
    AttestClient client = AttestClient::connect(client_options(), instance_).value();
    ASSERT_TRUE(attest(client, request()).ok());
    EXPECT_TRUE(client.update_tags({{"out", {}, first, 7}, {"log", {}, second, 7}}).ok());
    EXPECT_TRUE(client.update_tags({{"out", first, second, 7}}).ok());
  }
  EXPECT_TRUE(handler_.eventually([&] { return handler_.disconnected == 1; }));

  AttestClient later = AttestClient::connect(client_options(), instance_).value();
  ASSERT_TRUE(later.resume(handler_.instance).ok());
  EXPECT_TRUE(later.update_tags({{"out", first, second, 7}}).ok());  // a retry
  EXPECT_TRUE(later.update_tags({{"out", second, third, 7}}).ok());
  EXPECT_TRUE(later.notify_exit(3).ok());
  EXPECT_EQ(handler_.tags["out"], third);
  EXPECT_EQ(handler_.exit_status, 3);
}

TEST_F(Handshake, TagRefusalsTellAForkFromALostLease) {
  AttestClient client = AttestClient::connect(client_options(), instance_).value();
  ASSERT_TRUE(attest(client, request()).ok());
  EXPECT_EQ(client.update_tags({{"out", {9}, {1}, 7}}).error().code(), Code::Integrity);
  EXPECT_EQ(client.update_tags({{"out", {}, {1}, 6}}).error().code(), Code::Denied);
  EXPECT_TRUE(client.update_tags({{"out", {}, {1}, 7}}).ok());  // the connection lives on
}

// --- attacks on the binding

TEST_F(Handshake, RefusesEvidenceRelayedOverAnotherConnection) {
  // The enclave talks to the attacker, who talks to the service with a key of its own and passes on the
  // service's nonce. Everything in the evidence is genuine and fresh.
  Attacker to_service(server_->address(), make_identity("attacker"));
  const crypto::TlsContext fake_service = crypto::TlsContext::server(make_identity("fake cas"), {}).value();
  Listener listener = Listener::bind("127.0.0.1:0").value();
  Bytes evidence;
  std::thread enclave([&] {
    AttestClientOptions options;
    options.address = listener.address();
    AttestClient client = AttestClient::connect(options, instance_).value();
    evidence = platform_.evidence(client.report_data(request()).value());
  });
  {
    crypto::TlsStream from_enclave = fake_service.accept(listener.accept().value(), deadline_in(5s)).value();
    ASSERT_TRUE(
        write_frame(from_enclave, MessageType::ServerHello, encode(to_service.hello), deadline_in(5s)).ok());
    enclave.join();
  }
  to_service.request = request();
  to_service.request.nonce = to_service.hello.nonce;
  to_service.request.quote = evidence;
  EXPECT_EQ(to_service.send(), DenialCode::BindingMismatch);
  EXPECT_EQ(handler_.attested, 0);
  EXPECT_EQ(last_detail(), "report data differs");
}

TEST_F(Handshake, RefusesEvidenceWhoseOnlyFaultIsTheExporter) {
  Attacker one = attacker();
  Attacker two = attacker();
  two.binding.exporter = one.binding.exporter;
  two.request.quote = platform_.evidence(report_data_for(two.binding));
  EXPECT_EQ(two.send(), DenialCode::BindingMismatch);
}

TEST_F(Handshake, RefusesReflectedEvidence) {
  Attacker swapped = attacker();
  std::swap(swapped.binding.own_key, swapped.binding.peer_key);
  swapped.request.quote = platform_.evidence(report_data_for(swapped.binding));
  EXPECT_EQ(swapped.send(), DenialCode::BindingMismatch);

  Attacker other_role = attacker();
  other_role.binding.role = Role::Service;
  other_role.request.quote = platform_.evidence(report_data_for(other_role.binding));
  EXPECT_EQ(other_role.send(), DenialCode::BindingMismatch);

  Attacker says_service = attacker();
  says_service.request.role = Role::Service;
  says_service.binding.role = Role::Service;
  says_service.request.quote = platform_.evidence(report_data_for(says_service.binding));
  EXPECT_EQ(says_service.send(), DenialCode::Malformed);
  EXPECT_EQ(handler_.attested, 0);
}

TEST_F(Handshake, RefusesItsOwnKeyAsPeer) {
  crypto::TlsStream stream = connect_raw(server_->address(), service_);
  const Frame frame = read_frame(stream, deadline_in(5s)).value();
  ASSERT_EQ(frame.type, MessageType::Denied);
  EXPECT_EQ(decode_denial(frame.payload.expose()).value().code, DenialCode::BindingMismatch);

  AttestClientOptions options = client_options();
  EXPECT_EQ(AttestClient::connect(options, service_).error().code(), Code::Denied);
}

TEST_F(Handshake, RefusesAReplayedNonce) {
  Attacker first = attacker();
  first.request.quote = platform_.evidence(report_data_for(first.binding));
  ASSERT_EQ(first.send(), DenialCode::None);

  Attacker second = attacker();
  second.request.nonce = first.hello.nonce;
  second.binding.nonce = first.hello.nonce;
  second.request.quote = platform_.evidence(report_data_for(second.binding));
  EXPECT_EQ(second.send(), DenialCode::NonceInvalid);
  EXPECT_EQ(handler_.attested, 1);
}

TEST_F(Handshake, RefusesAnotherLiveConnectionsNonce) {
  Attacker other = attacker();
  Attacker self = attacker();
  self.request.nonce = other.hello.nonce;
  self.binding.nonce = other.hello.nonce;
  self.request.quote = platform_.evidence(report_data_for(self.binding));
  EXPECT_EQ(self.send(), DenialCode::NonceInvalid);
}

TEST_F(Handshake, RefusesReplayedEvidence) {
  Attacker first = attacker();
  first.request.quote = platform_.evidence(report_data_for(first.binding));
  ASSERT_EQ(first.send(), DenialCode::None);
  Attacker second = attacker();  // the same key, the same session, the old evidence
  second.request.quote = first.request.quote;
  EXPECT_EQ(second.send(), DenialCode::BindingMismatch);
}

TEST_F(Handshake, RefusesAnExpiredNonce) {
  AttestServerOptions options;
  options.nonce_lifetime = 20ms;
  start(options);
  Attacker late = attacker();
  late.request.quote = platform_.evidence(report_data_for(late.binding));
  std::this_thread::sleep_for(40ms);
  EXPECT_EQ(late.send(), DenialCode::NonceInvalid);
  EXPECT_EQ(handler_.attested, 0);
}

TEST_F(Handshake, RefusesZeroShortAndForeignReportData) {
  Attacker zero = attacker();
  zero.request.quote = platform_.evidence({});
  EXPECT_EQ(zero.send(), DenialCode::BindingMismatch);

  // Right in the first half only: a verifier that compares a prefix would take it.
  Attacker half = attacker();
  ReportData data = report_data_for(half.binding);
  std::fill(data.begin() + 32, data.end(), uint8_t{0});
  half.request.quote = platform_.evidence(data);
  EXPECT_EQ(half.send(), DenialCode::BindingMismatch);

  Attacker truncated = attacker();
  truncated.request.quote = platform_.evidence(report_data_for(truncated.binding));
  truncated.request.quote.resize(64);
  EXPECT_EQ(truncated.send(), DenialCode::EvidenceInvalid);

  Attacker forged = attacker();
  const SigningPlatform other;
  forged.request.quote = other.evidence(report_data_for(forged.binding));
  EXPECT_EQ(forged.send(), DenialCode::EvidenceInvalid);
  EXPECT_EQ(handler_.attested, 0);
}

TEST_F(Handshake, RefusesEvidenceMadeForAnotherSession) {
  Attacker swapped = attacker();
  swapped.binding.subject = "other/service";
  swapped.request.quote = platform_.evidence(report_data_for(swapped.binding));
  EXPECT_EQ(swapped.send(), DenialCode::BindingMismatch);
}

TEST_F(Handshake, RefusesEvidenceMadeForOtherArgumentsOrPasswords) {
  const std::function<void(AttestRequest&)> changes[] = {
      [](AttestRequest& r) { r.host_arguments = {"x"}; },
      [](AttestRequest& r) { r.one_time_password = "stolen"; },
      [](AttestRequest& r) { r.access_proof = crypto::Digest{1}; },
  };
  for (const auto& change : changes) {
    Attacker changed = attacker();
    changed.request.quote = platform_.evidence(report_data_for(changed.binding));
    change(changed.request);
    EXPECT_EQ(changed.send(), DenialCode::BindingMismatch);
  }
  EXPECT_EQ(handler_.attested, 0);
}

// --- the access token

class TokenHandler : public RecordingHandler {
 public:
  Result<Release> on_attest(const Verdict& verdict, const AttestRequest& request, const Peer& peer) override {
    Release release = TRY(RecordingHandler::on_attest(verdict, request, peer));
    seen = request.access_proof == access_proof(token, Role::Enclave, peer.channel, request.subject);
    if (proves) release.access_proof = access_proof(token, Role::Service, peer.channel, request.subject);
    return release;
  }
  std::string token = "open-sesame";
  bool proves = true, seen = false;
};

TEST_F(Handshake, AnEnclaveWithATokenRefusesAServiceThatDoesNotKnowIt) {
  TokenHandler handler;
  AttestServerOptions at_any_port;
  at_any_port.address = "127.0.0.1:0";
  const auto server = AttestServer::start(at_any_port, service_, platform_, handler).value();
  AttestClientOptions options = client_options();
  options.address = server->address();
  options.access_token = "open-sesame";
  const auto outcome = [&] {
    AttestClient client = AttestClient::connect(options, instance_).value();
    const Result<Released> released = attest(client, request());
    return released.ok() ? std::string() : released.error().message();
  };
  EXPECT_EQ(outcome(), "");
  EXPECT_TRUE(handler.seen);
  handler.proves = false;
  EXPECT_EQ(outcome(), "the CAS does not know the service access token");
  handler.proves = true;
  handler.token = "another";
  EXPECT_EQ(outcome(), "the CAS does not know the service access token");
  EXPECT_FALSE(handler.seen);
}

// --- versions and keys

TEST_F(Handshake, RefusesOtherVersionsOfTheProtocol) {
  for (const uint16_t version : {0, 2, 65535}) {
    Attacker other = attacker();
    other.request.version = version;
    other.request.quote = platform_.evidence(report_data_for(other.binding));
    EXPECT_EQ(other.send(), DenialCode::VersionUnsupported) << version;
  }
}

TEST_F(Handshake, TheEnclaveRefusesADowngradingService) {
  for (const auto& [version, kinds] : {std::pair<uint16_t, uint32_t>{0, 2}, {2, 2}, {1, 0}, {1, 1}}) {
    const crypto::TlsContext context = crypto::TlsContext::server(service_, {}).value();
    Listener listener = Listener::bind("127.0.0.1:0").value();
    std::thread service([&, v = version, k = kinds] {
      crypto::TlsStream stream = context.accept(listener.accept().value(), deadline_in(5s)).value();
      ServerHello hello;
      hello.version = v;
      hello.evidence_kinds = k;
      EXPECT_TRUE(write_frame(stream, MessageType::ServerHello, encode(hello), deadline_in(5s)).ok());
    });
    AttestClientOptions options;
    options.address = listener.address();
    EXPECT_EQ(AttestClient::connect(options, instance_).error().code(), Code::Unsupported);
    service.join();
  }
}

TEST_F(Handshake, TheEnclaveRefusesAServiceWithAnotherKey) {
  AttestClientOptions options = client_options();
  options.service_key = make_identity("cas").key.spki_sha256();
  const Result<AttestClient> client = AttestClient::connect(options, instance_);
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.error().code(), Code::Denied);
  EXPECT_NE(client.error().message().find(to_hex(service_.key.spki_sha256())), std::string::npos);
}

TEST_F(Handshake, NamesADeadService) {
  AttestClientOptions options = client_options();
  server_.reset();
  const Result<AttestClient> client = AttestClient::connect(options, instance_);
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.error().message(), "cannot reach the CAS at " + options.address + ": Connection refused");
}

TEST_F(Handshake, AServiceThatStaysSilentIsNamedInTime) {
  Listener listener = Listener::bind("127.0.0.1:0").value();
  AttestClientOptions options;
  options.address = listener.address();
  options.handshake_timeout = 50ms;
  const Result<AttestClient> client = AttestClient::connect(options, instance_);
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.error().code(), Code::Unavailable);
  EXPECT_TRUE(client.error().message().starts_with("cannot reach the CAS at " + options.address));
}

// --- hostile clients

TEST_F(Handshake, ResumeNeedsTheKeyOfTheInstance) {
  AttestClient client = AttestClient::connect(client_options(), instance_).value();
  ASSERT_TRUE(attest(client, request()).ok());
  AttestClient thief = AttestClient::connect(client_options(), make_identity("thief")).value();
  EXPECT_EQ(thief.resume(handler_.instance).error().code(), Code::Denied);
  EXPECT_FALSE(thief.update_tags({{"out", {}, {1}, 7}}).ok());
  EXPECT_EQ(handler_.batches, 0);
}

TEST_F(Handshake, TagsBeforeAttestationEndTheConnection) {
  Attacker early = attacker();
  const TagBatch batch{1, {{"out", {}, {1}, 7}}};
  ASSERT_TRUE(write_frame(early.stream, MessageType::TagUpdate, encode(batch), deadline_in(5s)).ok());
  const Frame frame = read_frame(early.stream, deadline_in(5s)).value();
  EXPECT_EQ(decode_denial(frame.payload.expose()).value().code, DenialCode::Malformed);
  EXPECT_FALSE(read_frame(early.stream, deadline_in(5s)).ok());
  EXPECT_EQ(handler_.batches, 0);
}

TEST_F(Handshake, ASecondAttestationOnAConnectionIsRefused) {
  Attacker twice = attacker();
  twice.request.quote = platform_.evidence(report_data_for(twice.binding));
  ASSERT_EQ(twice.send(), DenialCode::None);
  ASSERT_TRUE(
      write_frame(twice.stream, MessageType::AttestRequest, encode(twice.request), deadline_in(5s)).ok());
  EXPECT_FALSE(read_frame(twice.stream, deadline_in(5s)).ok());
  EXPECT_EQ(handler_.attested, 1);
}

TEST_F(Handshake, FramesOverTheirLimitAreRefusedBeforeTheirBytesArrive) {
  Attacker large = attacker();
  uint8_t head[5] = {static_cast<uint8_t>(MessageType::AttestRequest)};
  store_le(head + 1, uint32_t{0xffffffff});
  ASSERT_TRUE(large.stream.write_all(head, deadline_in(5s)).ok());
  EXPECT_TRUE(handler_.eventually([&] { return handler_.refused.size() == 1; }));
  EXPECT_EQ(last_detail(), "attestation message is too long");
}

TEST_F(Handshake, ASilentClientIsDroppedAtTheDeadline) {
  AttestServerOptions options;
  options.handshake_timeout = 1s;
  start(options);
  const Socket before_tls = connect_tcp(server_->address(), deadline_in(5s)).value();
  Attacker after_hello = attacker();
  EXPECT_TRUE(handler_.eventually([&] { return handler_.refused.size() == 2; }));
  EXPECT_FALSE(read_frame(after_hello.stream, deadline_in(5s)).ok());
}

TEST_F(Handshake, UnattestedConnectionsAreBounded) {
  AttestServerOptions options;
  options.max_unattested = 2;
  start(options);
  Attacker one = attacker();
  const Socket two = connect_tcp(server_->address(), deadline_in(5s)).value();
  while (server_->connections() < 2) std::this_thread::sleep_for(1ms);
  const Socket three = connect_tcp(server_->address(), deadline_in(5s)).value();
  ASSERT_TRUE(wait_readable(three.fd(), deadline_in(5s)).ok());
  uint8_t byte;
  EXPECT_EQ(::recv(three.fd(), &byte, 1, 0), 0);  // closed at once

  // An attested connection no longer counts.
  one.request.quote = platform_.evidence(report_data_for(one.binding));
  ASSERT_EQ(one.send(), DenialCode::None);
  AttestClientOptions again = client_options();
  again.handshake_timeout = 2s;
  Result<AttestClient> client = AttestClient::connect(again, instance_);
  // The server frees the place just after it has answered: it may take a moment to see it.
  for (int tries = 0; !client.ok() && tries < 100; ++tries) {
    std::this_thread::sleep_for(10ms);
    client = AttestClient::connect(again, instance_);
  }
  EXPECT_TRUE(client.ok());
}

TEST_F(Handshake, StoppingEndsLiveConnections) {
  Attacker waiting = attacker();
  AttestClient client = AttestClient::connect(client_options(), instance_).value();
  ASSERT_TRUE(attest(client, request()).ok());
  server_.reset();
  EXPECT_EQ(handler_.disconnected, 1);
  EXPECT_FALSE(client.usable());
}

TEST_F(Handshake, InternalErrorsDoNotReachTheEnclave) {
  class Broken : public RecordingHandler {
    Result<Release> on_attest(const Verdict&, const AttestRequest&, const Peer&) override {
      return Error(Code::Internal, "database password is swordfish");
    }
  } broken;
  const auto server = AttestServer::start({.address = "127.0.0.1:0"}, service_, platform_, broken).value();
  AttestClientOptions options = client_options();
  options.address = server->address();
  AttestClient client = AttestClient::connect(options, instance_).value();
  const Result<Released> released = attest(client, request());
  ASSERT_FALSE(released.ok());
  EXPECT_EQ(released.error().message(), "the CAS refuses: internal error");
  EXPECT_EQ(broken.refused.back().detail, "database password is swordfish");
}

TEST_F(Handshake, ManyEnclavesAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      const crypto::TlsIdentity own = make_identity("instance");
      AttestClient client = AttestClient::connect(client_options(), own).value();
      if (attest(client, request()).ok()) ++good;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 16);
  EXPECT_EQ(handler_.attested, 16);
}

}  // namespace
}  // namespace cloister::attestation

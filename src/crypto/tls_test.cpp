// Real handshakes over socketpairs and loopback; the foreign peer is OpenSSL driven directly.
#include "crypto/tls.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>

#include <thread>

namespace cloister::crypto {
namespace {

using namespace std::chrono_literals;

TlsIdentity identity(const char* name) {
  KeyPair key = KeyPair::generate().value();
  Certificate certificate = Certificate::self_signed(key, {.common_name = name}).value();
  return {std::move(key), std::move(certificate)};
}

std::pair<Socket, Socket> socket_pair() {
  int fds[2];
  CLOISTER_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  return {Socket(fds[0]), Socket(fds[1])};
}

struct Outcome {
  Result<TlsStream> client;
  Result<TlsStream> server;
};

Outcome handshake(const TlsContext& client, const TlsContext& server) {
  auto [left, right] = socket_pair();
  Result<TlsStream> accepted = Error(Code::Internal, "not run");
  std::thread thread([&, socket = std::move(right)]() mutable {
    accepted = server.accept(std::move(socket), deadline_in(5s));
  });
  Result<TlsStream> connected = client.connect(std::move(left), deadline_in(5s));
  thread.join();
  return {std::move(connected), std::move(accepted)};
}

TEST(Tls, BothSidesSeeEachOthersKeyAndOneExporter) {
  const TlsIdentity a = identity("a");
  const TlsIdentity b = identity("b");
  Outcome outcome = handshake(TlsContext::client(a, {}).value(), TlsContext::server(b, {}).value());
  TlsStream& client = outcome.client.value();
  TlsStream& server = outcome.server.value();
  EXPECT_EQ(client.own_spki_sha256(), a.key.spki_sha256());
  EXPECT_EQ(client.peer_spki_sha256(), b.key.spki_sha256());
  EXPECT_EQ(server.own_spki_sha256(), b.key.spki_sha256());
  EXPECT_EQ(server.peer_spki_sha256(), a.key.spki_sha256());
  const ByteArray<32> binding = client.exporter(kChannelBindingLabel).value();
  EXPECT_EQ(binding, server.exporter(kChannelBindingLabel).value());
  EXPECT_NE(binding, client.exporter("EXPORTER-other").value());

  Outcome second = handshake(TlsContext::client(a, {}).value(), TlsContext::server(b, {}).value());
  EXPECT_NE(binding, second.client.value().exporter(kChannelBindingLabel).value());
}

TEST(Tls, CarriesDataAndTellsAProperEndFromACut) {
  const TlsIdentity a = identity("a");
  Outcome outcome =
      handshake(TlsContext::client(a, {}).value(), TlsContext::server(identity("b"), {}).value());
  TlsStream client = std::move(outcome.client).value();
  TlsStream server = std::move(outcome.server).value();
  const Bytes sent(3'000'000, 0x5a);
  std::thread writer([&] { EXPECT_TRUE(client.write_all(sent, deadline_in(10s)).ok()); });
  Bytes got(sent.size());
  EXPECT_TRUE(server.read_exact(got, deadline_in(10s)).ok());
  writer.join();
  EXPECT_EQ(got, sent);

  uint8_t byte[1];
  EXPECT_FALSE(server.idle_and_broken());
  client.close_notify();
  EXPECT_TRUE(server.idle_and_broken());
  EXPECT_EQ(server.read_some(byte, deadline_in(1s)).value(), 0u);
  server.shutdown_transport();  // no close_notify
  EXPECT_EQ(client.read_some(byte, deadline_in(1s)).error().code(), Code::Unavailable);
}

TEST(Tls, WritingToAVanishedPeerIsAnErrorAndNoSignal) {
  Outcome outcome =
      handshake(TlsContext::client(identity("a"), {}).value(), TlsContext::server(identity("b"), {}).value());
  { TlsStream gone = std::move(outcome.server).value(); }
  TlsStream client = std::move(outcome.client).value();
  const Result<void> written = client.write_all(Bytes(1 << 20), deadline_in(1s));
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code(), Code::Unavailable);
}

TEST(Tls, ReadsTimeOut) {
  Outcome outcome =
      handshake(TlsContext::client(identity("a"), {}).value(), TlsContext::server(identity("b"), {}).value());
  uint8_t byte[1];
  const Result<void> read = outcome.client.value().read_exact(byte, deadline_in(20ms));
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().message(), "TLS read: timed out");
}

TEST(Tls, ASilentPeerEndsTheHandshakeAtItsDeadline) {
  auto [left, right] = socket_pair();
  const TlsContext client = TlsContext::client(std::nullopt, {}).value();
  const Result<TlsStream> stream = client.connect(std::move(left), deadline_in(30ms));
  ASSERT_FALSE(stream.ok());
  EXPECT_EQ(stream.error().code(), Code::Unavailable);
}

TEST(Tls, RefusesAServerWithAnotherKeyThanThePinnedOne) {
  const TlsIdentity wanted = identity("cas");
  TlsOptions options;
  options.expected_peer = wanted.key.spki_sha256();
  const TlsContext client = TlsContext::client(identity("a"), options).value();
  EXPECT_TRUE(handshake(client, TlsContext::server(wanted, {}).value()).client.ok());
  const TlsIdentity impostor = identity("cas");
  const Outcome refused = handshake(client, TlsContext::server(impostor, {}).value());
  ASSERT_FALSE(refused.client.ok());
  EXPECT_EQ(refused.client.error().code(), Code::Denied);
  EXPECT_NE(refused.client.error().message().find(to_hex(impostor.key.spki_sha256())), std::string::npos);
}

TEST(Tls, AServerThatRequiresACertificateRefusesAClientWithout) {
  const TlsContext anonymous = TlsContext::client(std::nullopt, {}).value();
  const TlsIdentity id = identity("cas");
  EXPECT_EQ(handshake(anonymous, TlsContext::server(id, {}).value()).server.error().code(), Code::Denied);

  TlsOptions optional;
  optional.peer = PeerCertificate::Optional;
  const Outcome served = handshake(anonymous, TlsContext::server(id, optional).value());
  ASSERT_TRUE(served.server.ok());
  EXPECT_FALSE(served.server.value().peer_spki_sha256().has_value());
  EXPECT_EQ(served.server.value().peer_certificate().error().code(), Code::NotFound);
}

// A context of plain OpenSSL with an identity of ours, to be misconfigured by the test.
std::shared_ptr<SSL_CTX> foreign(const TlsIdentity& id) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  CLOISTER_CHECK(SSL_CTX_use_certificate(context.get(), id.certificate.native()) == 1);
  CLOISTER_CHECK(SSL_CTX_use_PrivateKey(context.get(), id.key.native()) == 1);
  return context;
}

Result<void> foreign_handshake(SSL_CTX* context, const TlsContext& server) {
  auto [left, right] = socket_pair();
  std::thread thread([context, socket = std::move(left)] {
    sigset_t pipe;  // OpenSSL's own socket writes raise it; ours do not
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    SSL* ssl = SSL_new(context);
    SSL_set_fd(ssl, socket.fd());
    if (SSL_connect(ssl) == 1) {
      char byte;
      SSL_read(ssl, &byte, 1);
    }
    SSL_free(ssl);
  });
  Result<void> outcome;
  {
    const Result<TlsStream> accepted = server.accept(std::move(right), deadline_in(5s));
    if (!accepted.ok()) outcome = Error(accepted.error());
  }
  thread.join();
  return outcome;
}

TEST(Tls, RefusesTls12) {
  const TlsIdentity id = identity("a");
  const TlsContext server = TlsContext::server(identity("cas"), {}).value();
  const auto context = foreign(id);
  EXPECT_TRUE(foreign_handshake(context.get(), server).ok());
  SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
  EXPECT_FALSE(foreign_handshake(context.get(), server).ok());
}

TEST(Tls, RefusesOtherGroupsAndOtherKeyTypes) {
  const TlsContext server = TlsContext::server(identity("cas"), {}).value();
  const auto groups = foreign(identity("a"));
  SSL_CTX_set1_groups_list(groups.get(), "P-384");
  EXPECT_FALSE(foreign_handshake(groups.get(), server).ok());

  EVP_PKEY* key = EVP_EC_gen("P-384");
  X509* certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 1000);
  X509_set_pubkey(certificate, key);
  X509_sign(certificate, key, EVP_sha256());
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  SSL_CTX_use_certificate(context.get(), certificate);
  SSL_CTX_use_PrivateKey(context.get(), key);
  EXPECT_FALSE(foreign_handshake(context.get(), server).ok());
  TlsOptions people;
  people.any_key_type = true;
  EXPECT_TRUE(foreign_handshake(context.get(), TlsContext::server(identity("cas"), people).value()).ok());
  X509_free(certificate);
  EVP_PKEY_free(key);
}

TEST(Tls, GarbageIsAnError) {
  auto [left, right] = socket_pair();
  ASSERT_EQ(::send(left.fd(), "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
  const TlsContext server = TlsContext::server(identity("cas"), {}).value();
  EXPECT_EQ(server.accept(std::move(right), deadline_in(1s)).error().code(), Code::Malformed);
}

}  // namespace
}  // namespace cloister::crypto

#include "crypto/tls.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <cerrno>

#include "crypto/openssl_error.h"

namespace cloister::crypto {

struct TlsContext::Settings {
  TlsOptions options;
  Digest own{};
};

namespace {

// --- a BIO over send/recv: OpenSSL's own uses write(2), which raises SIGPIPE in the whole process.

int bio_fd(BIO* bio) { return static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))); }

int bio_write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t count = ::send(bio_fd(bio), data, static_cast<size_t>(size), MSG_NOSIGNAL);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(count);
}

int bio_read(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t count = ::recv(bio_fd(bio), data, static_cast<size_t>(size), 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  if (count == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return static_cast<int>(count);
}

long bio_control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int bio_create(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

const BIO_METHOD* socket_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "cloister socket");
    CLOISTER_CHECK(made != nullptr);
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_ctrl(made, bio_control);
    BIO_meth_set_create(made, bio_create);
    return made;
  }();
  return method;
}

// --- which certificates pass

// Decides on the key alone; the CertificateVerify message then proves its possession (RFC 8446, 4.4.3).
int accept_any_p256(X509_STORE_CTX* store, void*) {
  const X509* leaf = X509_STORE_CTX_get0_cert(store);
  EVP_PKEY* key = leaf != nullptr ? X509_get0_pubkey(leaf) : nullptr;
  char group[64] = {};
  if (key != nullptr && EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
      EVP_PKEY_get_group_name(key, group, sizeof(group), nullptr) == 1 &&
      std::string_view(group) == SN_X9_62_prime256v1) {
    return 1;
  }
  X509_STORE_CTX_set_error(store, X509_V_ERR_CA_KEY_TOO_SMALL);
  return 0;
}

int accept_any_key(X509_STORE_CTX* store, void*) {
  const X509* leaf = X509_STORE_CTX_get0_cert(store);
  return leaf != nullptr && X509_get0_pubkey(leaf) != nullptr ? 1 : 0;
}

bool configure(SSL_CTX* context, bool is_server, const TlsOptions& options) {
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_max_cert_list(context, 16 << 10);
  int mode = SSL_VERIFY_NONE;
  if (!is_server || options.peer != PeerCertificate::None) mode = SSL_VERIFY_PEER;
  if (is_server && options.peer == PeerCertificate::Required) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  SSL_CTX_set_verify(context, mode, nullptr);
  SSL_CTX_set_cert_verify_callback(context, options.any_key_type ? accept_any_key : accept_any_p256, nullptr);
  return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_set1_groups_list(context, "X25519:P-256") == 1 &&
         SSL_CTX_set_max_early_data(context, 0) == 1 && SSL_CTX_set_num_tickets(context, 0) == 1 &&
         (options.any_key_type || SSL_CTX_set1_sigalgs_list(context, "ECDSA+SHA256") == 1);
}

Error failure(std::string_view what, int ssl_error) {
  const unsigned long number = ERR_peek_error();
  const int reason = ERR_GET_REASON(number);
  const bool from_ssl = ERR_GET_LIB(number) == ERR_LIB_SSL;
  if (ssl_error == SSL_ERROR_ZERO_RETURN || ssl_error == SSL_ERROR_SYSCALL || number == 0 ||
      (from_ssl && reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
    clear_openssl_errors();
    return Error(Code::Unavailable, std::string(what).append(": the peer closed the connection"));
  }
  Code code = Code::Malformed;
  if (from_ssl &&
      (reason == SSL_R_CERTIFICATE_VERIFY_FAILED || reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE ||
       reason == SSL_R_SSLV3_ALERT_BAD_CERTIFICATE || reason == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED ||
       reason == SSL_R_TLSV1_ALERT_ACCESS_DENIED || reason == SSL_R_TLSV1_ALERT_UNKNOWN_CA ||
       reason == SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN)) {
    code = Code::Denied;
  }
  return openssl_error(code, what);
}

}  // namespace

Result<TlsContext> TlsContext::make(bool is_server, const TlsIdentity* identity, const TlsOptions& options) {
  TlsContext result;
  result.context_.reset(SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method()), SSL_CTX_free);
  if (!result.context_ || !configure(result.context_.get(), is_server, options)) {
    return openssl_error(Code::Internal, "TLS settings");
  }
  result.settings_ = std::make_shared<Settings>();
  result.settings_->options = options;
  if (identity != nullptr) {
    if (SSL_CTX_use_certificate(result.context_.get(), identity->certificate.native()) != 1 ||
        SSL_CTX_use_PrivateKey(result.context_.get(), identity->key.native()) != 1) {
      return openssl_error(Code::InvalidArgument, "TLS identity");
    }
    result.settings_->own = identity->key.spki_sha256();
  }
  return result;
}

Result<TlsContext> TlsContext::client(const std::optional<TlsIdentity>& identity, const TlsOptions& options) {
  return make(false, identity ? &*identity : nullptr, options);
}

Result<TlsContext> TlsContext::server(const TlsIdentity& identity, const TlsOptions& options) {
  return make(true, &identity, options);
}

Result<TlsStream> TlsContext::connect(Socket socket, Deadline deadline) const {
  return handshake(std::move(socket), deadline, false);
}

Result<TlsStream> TlsContext::accept(Socket socket, Deadline deadline) const {
  return handshake(std::move(socket), deadline, true);
}

Result<TlsStream> TlsContext::handshake(Socket socket, Deadline deadline, bool is_server) const {
  const int flags = ::fcntl(socket.fd(), F_GETFL);
  if (flags < 0 || ::fcntl(socket.fd(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return Error(Code::Internal, "TLS: not a usable socket");
  }
  std::unique_ptr<SSL, TlsStream::FreeSsl> ssl(SSL_new(context_.get()));
  BIO* bio = BIO_new(socket_method());
  if (!ssl || bio == nullptr) {
    BIO_free(bio);
    return openssl_error(Code::Internal, "TLS");
  }
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(socket.fd())));
  SSL_set_bio(ssl.get(), bio, bio);

  TlsStream stream(std::move(socket), context_, std::move(ssl));
  SSL* const raw = stream.ssl_.get();
  stream.own_ = settings_->own;
  TRY(stream.drive([&] { return is_server ? SSL_accept(raw) : SSL_connect(raw); }, deadline,
                   "TLS handshake"));

  const Result<Certificate> certificate = stream.peer_certificate();
  if (certificate.ok()) stream.peer_ = certificate->spki_sha256();
  if (settings_->options.expected_peer && stream.peer_ != settings_->options.expected_peer) {
    const std::string got = stream.peer_ ? to_hex(*stream.peer_) : "no key";
    return Error(Code::Denied,
                 "the peer's key is " + got + ", expected " + to_hex(*settings_->options.expected_peer));
  }
  return stream;
}

void TlsStream::FreeSsl::operator()(ssl_st* ssl) const { SSL_free(ssl); }

TlsStream::TlsStream(Socket socket, std::shared_ptr<ssl_ctx_st> context, std::unique_ptr<ssl_st, FreeSsl> ssl)
    : socket_(std::move(socket)), context_(std::move(context)), ssl_(std::move(ssl)) {}
TlsStream::TlsStream(TlsStream&&) noexcept = default;
TlsStream& TlsStream::operator=(TlsStream&&) noexcept = default;
TlsStream::~TlsStream() = default;

Result<int> TlsStream::drive(const std::function<int()>& step, Deadline deadline, std::string_view what,
                             bool* ended) {
  for (;;) {
    ERR_clear_error();
    const int count = step();
    if (count > 0) return count;
    const int reason = SSL_get_error(ssl_.get(), count);
    if (ended != nullptr) *ended = reason == SSL_ERROR_ZERO_RETURN;
    Result<void> waited;
    if (reason == SSL_ERROR_WANT_READ) {
      waited = wait_readable(socket_.fd(), deadline);
    } else if (reason == SSL_ERROR_WANT_WRITE) {
      waited = wait_writable(socket_.fd(), deadline);
    } else {
      return failure(what, reason);
    }
    if (!waited.ok()) return std::move(waited.error()).within(what);
  }
}

Result<void> TlsStream::read_exact(MutableByteView out, Deadline deadline) {
  while (!out.empty()) {
    const size_t count = TRY(read_some(out, deadline));
    if (count == 0) return Error(Code::Unavailable, "TLS read: the peer closed the connection");
    out = out.subspan(count);
  }
  return {};
}

Result<size_t> TlsStream::read_some(MutableByteView out, Deadline deadline) {
  if (out.empty()) return Error(Code::InvalidArgument, "TLS read: no room");
  const int size = static_cast<int>(std::min<size_t>(out.size(), 1 << 20));
  bool ended = false;
  const auto step = [&] { return SSL_read(ssl_.get(), out.data(), size); };
  const Result<int> count = drive(step, deadline, "TLS read", &ended);
  if (!count.ok() && ended) return size_t{0};
  if (!count.ok()) return Error(count.error());
  return static_cast<size_t>(*count);
}

Result<void> TlsStream::write_all(ByteView data, Deadline deadline) {
  while (!data.empty()) {
    const int size = static_cast<int>(std::min<size_t>(data.size(), 1 << 20));
    const int count =
        TRY(drive([&] { return SSL_write(ssl_.get(), data.data(), size); }, deadline, "TLS write"));
    data = data.subspan(static_cast<size_t>(count));
  }
  return {};
}

Result<ByteArray<32>> TlsStream::exporter(std::string_view label) const {
  ByteArray<32> out;
  if (SSL_export_keying_material(ssl_.get(), out.data(), out.size(), label.data(), label.size(), nullptr, 0,
                                 1) != 1) {
    return openssl_error(Code::Internal, "TLS exporter");
  }
  return out;
}

Result<Certificate> TlsStream::peer_certificate() const {
  const X509* leaf = SSL_get0_peer_certificate(ssl_.get());
  if (leaf == nullptr) return Error(Code::NotFound, "the peer presented no certificate");
  uint8_t* out = nullptr;
  const int size = i2d_X509(leaf, &out);
  if (size <= 0) return openssl_error(Code::Malformed, "peer certificate");
  Result<Certificate> certificate = Certificate::from_der(ByteView(out, static_cast<size_t>(size)));
  OPENSSL_free(out);
  return certificate;
}

bool TlsStream::idle_and_broken() const {
  uint8_t byte;
  const ssize_t count = ::recv(socket_.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count >= 0 || (errno != EAGAIN && errno != EINTR) || SSL_pending(ssl_.get()) > 0;
}

void TlsStream::close_notify() {
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

void TlsStream::shutdown_transport() { socket_.shutdown(); }

}  // namespace cloister::crypto

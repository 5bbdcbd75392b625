#include "cas/identity.h"

#include "base/files.h"

namespace cloister::cas {
namespace {

constexpr size_t kMaxFile = size_t{64} << 10;

Result<crypto::TlsIdentity> with_new_certificate(crypto::KeyPair key) {
  crypto::CertificateOptions options;
  options.common_name = "cloister owner";
  crypto::Certificate certificate = TRY(crypto::Certificate::self_signed(key, options));
  return crypto::TlsIdentity{std::move(key), std::move(certificate)};
}

Result<crypto::TlsIdentity> paired(crypto::KeyPair key, crypto::Certificate certificate,
                                   const std::filesystem::path& path) {
  if (certificate.spki_sha256() != key.spki_sha256()) {
    return Error(Code::Malformed, path.string() + " is the certificate of another key",
                 "remove it: a new one is made for the key");
  }
  return crypto::TlsIdentity{std::move(key), std::move(certificate)};
}

}  // namespace

Result<crypto::TlsIdentity> load_or_create_identity(const std::filesystem::path& folder) {
  const std::filesystem::path key_path = folder / "identity-key.pem";
  const std::filesystem::path certificate_path = folder / "identity-cert.pem";
  Result<SecretBytes> key_file = read_secret_file(key_path, kMaxFile);
  if (!key_file.ok() && key_file.error().code() != Code::NotFound) return std::move(key_file).error();
  if (!key_file.ok()) {
    TRY(make_private_folder(folder));
    crypto::TlsIdentity identity = TRY(with_new_certificate(TRY(crypto::KeyPair::generate())));
    const SecretBytes pem = TRY(identity.key.to_pkcs8_pem());
    // The certificate first: an identity exists once its key does.
    TRY(write_public_file(certificate_path, as_bytes(identity.certificate.pem())));
    TRY(write_private_file(key_path, pem.expose()));
    return identity;
  }
  crypto::KeyPair key = TRY(crypto::KeyPair::from_pem(key_file->expose()));
  Result<Bytes> certificate_file = read_file(certificate_path, kMaxFile);
  if (certificate_file.ok()) {
    crypto::Certificate certificate = TRY(crypto::Certificate::from_pem(as_text(*certificate_file)));
    return paired(std::move(key), std::move(certificate), certificate_path);
  }
  if (certificate_file.error().code() != Code::NotFound) return std::move(certificate_file).error();
  crypto::TlsIdentity identity = TRY(with_new_certificate(std::move(key)));
  TRY(write_public_file(certificate_path, as_bytes(identity.certificate.pem())));
  return identity;
}

Result<crypto::TlsIdentity> load_identity_file(const std::filesystem::path& path) {
  const SecretBytes file = TRY(read_secret_file(path, kMaxFile));
  const std::string_view text = as_text(file.expose());
  const auto block = [&](std::string_view label) -> std::string_view {
    const std::string begin = "-----BEGIN " + std::string(label), end = "-----END " + std::string(label);
    const size_t from = text.find(begin);
    const size_t to = from == std::string_view::npos ? from : text.find(end, from);
    if (to == std::string_view::npos) return {};
    const size_t line = text.find('\n', to);
    return text.substr(from, line == std::string_view::npos ? line : line + 1 - from);
  };
  std::string_view key_block = block("PRIVATE KEY");
  if (key_block.empty()) key_block = block("EC PRIVATE KEY");
  if (key_block.empty()) return Error(Code::Malformed, path.string() + " has no private key in PEM");
  crypto::KeyPair key = TRY(crypto::KeyPair::from_pem(as_bytes(key_block)));
  const std::string_view certificate_block = block("CERTIFICATE");
  if (certificate_block.empty()) return with_new_certificate(std::move(key));
  crypto::Certificate certificate = TRY(crypto::Certificate::from_pem(certificate_block));
  return paired(std::move(key), std::move(certificate), path);
}

}  // namespace cloister::cas

#include "cas/state_folder.h"

#include <fcntl.h>
#include <sys/file.h>

#include "base/files.h"
#include "crypto/random.h"

namespace cloister::cas {
namespace {

constexpr size_t kMaxKeyFile = 4096;

std::string without_line_end(const SecretBytes& bytes) {
  std::string text(as_text(bytes.expose()));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

Result<Key256> load_or_make_database_key(const std::filesystem::path& path, bool may_make) {
  Result<SecretBytes> file = read_secret_file(path, kMaxKeyFile);
  if (file.ok()) {
    std::string text = without_line_end(*file);
    Result<ByteArray<32>> bytes = array_from_hex<32>(text);
    wipe(text.data(), text.size());
    if (!bytes.ok()) return Error(Code::Integrity, path.string() + " is not a database key");
    const Key256 key(*bytes);
    wipe(bytes->data(), bytes->size());
    return key;
  }
  if (file.error().code() != Code::NotFound || !may_make) return std::move(file).error();
  Key256 key;
  crypto::random_bytes(key.expose());
  std::string text = to_hex(key.expose()) + "\n";
  const Result<void> written = write_private_file(path, as_bytes(text));
  wipe(text.data(), text.size());
  if (!written.ok()) return Error(written.error());
  return key;
}

Result<crypto::KeyPair> load_or_make_service_key(const std::filesystem::path& path, bool may_make) {
  Result<SecretBytes> file = read_secret_file(path, kMaxKeyFile);
  if (file.ok()) {
    Result<crypto::KeyPair> key = crypto::KeyPair::from_pem(file->expose());
    if (!key.ok()) return Error(Code::Integrity, path.string() + " is not the service's key");
    return key;
  }
  if (file.error().code() != Code::NotFound || !may_make) return std::move(file).error();
  crypto::KeyPair key = TRY(crypto::KeyPair::generate());
  const SecretBytes pem = TRY(key.to_pkcs8_pem());
  TRY(write_private_file(path, pem.expose()));
  return key;
}

}  // namespace

Result<StateFolder> StateFolder::open(const std::filesystem::path& folder) {
  TRY(make_private_folder(folder));
  StateFolder out(folder);
  TRY(out.lock());
  TRY(out.load());
  return out;
}

Result<void> StateFolder::lock() {
  const std::filesystem::path path = folder_ / "lock";
  lock_ = Descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock_.valid()) {
    return Error(Code::Unavailable, "cannot open " + path.string() + ": " + ::strerror(errno));
  }
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return {};
  return Error(Code::Denied, "the state folder " + folder_.string() + " is used by another process",
               "stop the other service, or give this one another --state");
}

Result<void> StateFolder::load() {
  const std::filesystem::path key_path = folder_ / "service-key.pem";
  const std::filesystem::path certificate_path = folder_ / "service-cert.pem";
  // The database comes last into a new folder, so keys that are missing beside one were lost.
  std::error_code failure;
  const bool fresh = !std::filesystem::exists(database(), failure);
  if (failure) {
    return Error(Code::Unavailable, "cannot look at " + database().string() + ": " + failure.message());
  }
  const auto explained = [&](const Error& error) {
    if (fresh || error.code() != Code::NotFound) return error;
    return Error(Code::Integrity,
                 "the state folder " + folder_.string() + " has lost a key: " + error.message(),
                 "restore it from a backup; what the database holds cannot be read without it");
  };
  Result<Key256> database_key = load_or_make_database_key(folder_ / "database.key", fresh);
  if (!database_key.ok()) return explained(database_key.error());
  database_key_ = *database_key;
  Result<crypto::KeyPair> key = load_or_make_service_key(key_path, fresh);
  if (!key.ok()) return explained(key.error());
  // The certificate says nothing but the key, so a missing one is simply made again.
  const Result<Bytes> file = read_file(certificate_path, size_t{64} << 10);
  if (file.ok()) {
    crypto::Certificate certificate = TRY(crypto::Certificate::from_pem(as_text(*file)));
    if (certificate.spki_sha256() == key->spki_sha256()) {
      identity_.emplace(crypto::TlsIdentity{std::move(*key), std::move(certificate)});
      return {};
    }
  }
  crypto::CertificateOptions options;
  options.common_name = "cas";
  options.dns_names = {"cas", "localhost"};
  options.ip_addresses = {"127.0.0.1"};
  crypto::Certificate certificate = TRY(crypto::Certificate::self_signed(*key, options));
  TRY(write_public_file(certificate_path, as_bytes(certificate.pem())));
  identity_.emplace(crypto::TlsIdentity{std::move(*key), std::move(certificate)});
  return {};
}

}  // namespace cloister::cas

// Who an owner is towards a CAS: a P-256 key and its self-signed certificate in a folder of the owner's.
#pragma once

#include <filesystem>

#include "crypto/tls.h"

namespace cloister::cas {

// `folder`/identity-key.pem (0600, PKCS#8) and identity-cert.pem; both are made when the key is not there.
// Malformed: files that are not that, or do not belong together. Denied or Unavailable: the disk.
Result<crypto::TlsIdentity> load_or_create_identity(const std::filesystem::path& folder);

// One PEM file with key and certificate; a missing certificate is made. NotFound, Malformed.
Result<crypto::TlsIdentity> load_identity_file(const std::filesystem::path& path);

}  // namespace cloister::cas

// The owner's connection to a CAS: only to one whose key this user has pinned, as the owner of `conf`.
#pragma once

#include <filesystem>

#include "cas/client.h"

namespace cloister::cli {

struct HostPort {
  std::string host;  // without brackets
  std::string port;  // empty: none given
};
// "host", "host:port", "[v6]", "[v6]:port", "v6". InvalidArgument.
Result<HostPort> split_address(const std::string& text);
std::string join_address(const std::string& host, const std::string& port);

// The key that this user has pinned for the CAS. Denied: none; Malformed as cas::trusted_key.
Result<crypto::Digest> insisted_key(const std::string& address);
// Errors as insisted_key; Unavailable names the CAS.
Result<cas::Client> connect_cas(const std::string& address, const std::filesystem::path& conf);

}  // namespace cloister::cli

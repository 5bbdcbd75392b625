// Which CAS keys this user trusts: cas.json (0600) in the configuration folder (0700), which is
// $CLOISTER_CONFIG, else $XDG_CONFIG_HOME/cloister, else ~/.config/cloister. A key gets in by a person who
// compared it, never by connecting.
#pragma once

#include <filesystem>
#include <string>

#include "crypto/sha256.h"

namespace cloister::cas {

std::filesystem::path config_folder();

// "host" → "host:8081"; "host:port", "[v6]:port" stay. InvalidArgument for anything else.
Result<std::string> full_address(const std::string& address);

// Replaces what was trusted at this address.
Result<void> trust(const std::string& address, const crypto::Digest& key);
// NotFound "CAS HOST:PORT is not trusted" with the command that changes it. Malformed: the file is broken.
Result<crypto::Digest> trusted_key(const std::string& address);

// The key that a server presents now, to be compared by a person with what its operator says. Unavailable.
Result<crypto::Digest> presented_key(const std::string& address);

}  // namespace cloister::cas

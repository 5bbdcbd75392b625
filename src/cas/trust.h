// Which CAS keys this user trusts: cas.json (0600) in the configuration folder (0700). A key gets in by a
// person who compared it, never by connecting.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cas/store.h"

namespace cloister::cas {

// This user's settings and keys: $CLOISTER_CONFIG, else $XDG_CONFIG_HOME/cloister, else ~/.config/cloister;
// without $HOME the home is the one that the system knows.
std::filesystem::path config_folder();

// "host" → "host:8081"; "host:port", "[v6]:port" stay. InvalidArgument for anything else.
Result<std::string> full_address(const std::string& address);

// Every numeric "ip:port" of a name, at least one. Unavailable when it is unknown; InvalidArgument when the
// name is empty or the port is not a number.
Result<std::vector<std::string>> resolve(const std::string& host, const std::string& port);

// What is known of a trusted CAS: its key and, once attested, an entry of its journal.
struct KnownCas {
  crypto::Digest key{};
  JournalHead journal;  // sequence 0: none
};
// NotFound and Malformed as trusted_key.
Result<KnownCas> known_cas(const std::string& address);

// Replaces what was trusted at this address.
Result<void> trust(const std::string& address, const crypto::Digest& key, const JournalHead& journal = {});
// NotFound "CAS HOST:PORT is not trusted" with the command that changes it. Malformed: the file is broken.
Result<crypto::Digest> trusted_key(const std::string& address);

// To whoever is answered by something that is no client API.
inline constexpr std::string_view kWhichPort =
    "the client API is on port 8081 unless --listen-api says otherwise";

// The key that a server presents now, to be compared by a person with what its operator says. Unavailable.
Result<crypto::Digest> presented_key(const std::string& address);

}  // namespace cloister::cas

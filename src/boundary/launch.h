// The launch record: what the host's command line tells the enclave. Untrusted as a whole; in attested runs
// it only says which session to ask for and where (and, in the environment, with which access token), in
// unattested runs also the program's arguments and environment. Encoding: fields in the order of the struct,
// integers little-endian, strings and lists with u32 lengths.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"

namespace cloister::boundary {

inline constexpr uint32_t kLaunchVersion = 1;
inline constexpr size_t kMaxLaunchSize = size_t{1} << 20;  // bytes, one arena
inline constexpr uint32_t kMaxLaunchStrings = 65536;       // of each list

struct LaunchRecord {
  uint32_t log_level = 3;
  bool patch_system_calls = true;
  std::string config_id;                 // empty: unattested
  std::string cas_address;               // numeric "ip:port"
  std::string las_address;               // numeric "ip:port"
  std::string cas_key_hash;              // hex, or empty
  std::vector<std::string> args;         // without argv[0]
  std::vector<std::string> environment;  // "NAME=value"
  std::vector<std::string> volumes;      // mount paths that the host has a folder for
};

Bytes encode_launch(const LaunchRecord& record);
// Malformed: truncated, a wrong version, over the limits, or bytes left over.
Result<LaunchRecord> decode_launch(ByteView bytes);

}  // namespace cloister::boundary

// What an owner keeps about a session that encryptedpush made: the two volume keys and where they belong, in
// CONF/sessions/NUMBER (0700, files 0600). decrypt needs nothing else but the CAS.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/volume_key.h"
#include "volume/format.h"

namespace cloister::cli {

struct OwnerVolume {
  std::string name;       // in the session
  std::string path;       // where the service mounts it
  volume::VolumeId id{};  // of the volume that was uploaded
  volume::Tag tag{};      // of its state then
};

struct OwnerSession {
  std::filesystem::path folder;
  std::string session;  // name at the CAS
  std::string service;
  std::string cas;  // host:port of its client API
  std::string url;  // of the upload
  std::string created;
  OwnerVolume input, output;

  std::filesystem::path input_key_file() const { return folder / "input.key"; }
  std::filesystem::path output_key_file() const { return folder / "output.key"; }
  Result<void> save() const;
};

// 26 decimal digits, the first not 0.
std::string random_session_number();

// A folder for a new session, CONF/sessions/NUMBER.
Result<std::filesystem::path> make_session_folder(const std::filesystem::path& conf,
                                                  const std::string& number);
// Every complete session of `conf`, the newest first. NotFound when there is none.
Result<std::vector<OwnerSession>> load_sessions(const std::filesystem::path& conf);

}  // namespace cloister::cli

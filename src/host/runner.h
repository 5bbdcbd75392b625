// Runs one enclave image in this process: maps ELRANGE, loads and measures the image, enters it, serves its
// host calls until it exits. The caller is the untrusted host; nothing here is trusted by the enclave.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace cloister::host {

enum class Backend : uint8_t { Simulation, Hardware };

struct RunOptions {
  Backend backend = Backend::Simulation;
  std::filesystem::path image;    // folder made by `cloister build`
  std::vector<std::string> args;  // without argv[0]; ignored in attested runs (the session decides), but @@N
  std::vector<std::string> environment;  // "NAME=value", untrusted; used only in unattested runs
  std::string config_id;                 // session/service[@OTP]; empty: unattested
  std::string cas_address;   // numeric "ip:port" of the CAS enclave listener (the caller resolves names)
  std::string las_address;   // numeric "ip:port"
  std::string cas_key_hash;  // hex SHA-256 of the CAS's SPKI to pin; empty: any (the CAS still decides)
  std::map<std::string, std::filesystem::path> volumes;  // mount path in the enclave -> host folder
  std::filesystem::path sealed, sealed_anchor;  // folders of a sealed volume and its anchor; empty: none
  std::filesystem::path sim_state;  // folder with the simulated machine's secret; empty: the user's default
  bool sim_exact = false;           // the simulation changes nothing of what was measured: each ENCLU traps
  bool patch_system_calls = true;   // false: every system call traps
  int log_level = 3;                // 0 fatal … 3 warning (default) … 6 trace
};

// How an enclave ended.
struct EnclaveEnd {
  // The program's exit status (128 + n after signal n) or, when the enclave itself gave up, the command
  // line's exit code for the reason, which it has written to standard error: 3 integrity, 4 refused, 5
  // unavailable, else failed.
  int status = 0;
  bool by_program = true;
};

// Returns once the program has ended.
// Errors: NotFound, Malformed, Integrity (measurement or SIGSTRUCT differs), Denied (attestation refused; the
// message carries the CAS's text), Unavailable (CAS or LAS absent), Unsupported (machine lacks something).
// One enclave per process. Not thread-safe.
Result<EnclaveEnd> run_enclave(const RunOptions& options);

// The MRENCLAVE of an image, recomputed from its files (never read from a field).
Result<ByteArray<32>> measure_image(const std::filesystem::path& image);

}  // namespace cloister::host

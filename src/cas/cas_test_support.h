// For tests and benchmarks: session texts, verdicts of enclaves, and a service over a store in a folder of
// its own.
#pragma once

#include <stdlib.h>

#include <filesystem>

#include "attestation/attest_test_support.h"
#include "attestation/verifier.h"
#include "cas/service.h"
#include "cas/sqlite_store.h"
#include "cas/state_folder.h"

namespace cloister::cas::testing {

inline std::string measurement_hex(char digit) { return std::string(64, digit); }

// What encryptedpush makes: an input volume with key and tag, an output volume, one service.
inline std::string session_text(const std::string& name, const std::string& more = {},
                                const std::string& environment = "SCONE_MODE: sim",
                                const std::string& tolerate = "simulation-mode, hyperthreading") {
  return "name: " + name +
         "\n"
         "version: \"0.3\"\n" +
         more +
         "services:\n"
         "  - name: app\n"
         "    image_name: image\n"
         "    mrenclaves: [" +
         measurement_hex('a') +
         "]\n"
         "    command: program --first=@@1 $$SCONE::word$$ plain\n"
         "    pwd: /data\n"
         "    environment: {" +
         environment +
         ", PASSWORD: \"is $$SCONE::word$$!\"}\n"
         "secrets:\n"
         "  - {name: word, kind: ascii, size: 16}\n"
         "  - {name: shown, kind: binary, size: 8, export_public: true}\n"
         "volumes:\n"
         "  - name: in\n"
         "    fspf_key: " +
         std::string(64, '1') +
         "\n"
         "    fspf_tag: " +
         std::string(32, '2') +
         "\n"
         "  - name: out\n"
         "images:\n"
         "  - name: image\n"
         "    volumes: [{name: in, path: /in}, {name: out, path: /out}]\n"
         "    injection_files: [{path: /etc/secret, content: \"$$SCONE::shown:hex$$\", permission: 0o400}]\n"
         "security: {attestation: {tolerate: [" +
         tolerate + "]}}\n";
}

inline std::string predecessor(const crypto::Digest& hash) { return "predecessor: " + to_hex(hash) + "\n"; }

inline attestation::Verdict verdict_of(char digit) {
  attestation::Verdict verdict;
  verdict.status = attestation::TcbStatus::UpToDate;
  verdict.simulated = true;
  verdict.smt_enabled = false;
  verdict.mrenclave = array_from_hex<32>(measurement_hex(digit)).value();
  return verdict;
}

struct TestFolder {
  TestFolder() {
    char name[] = "/tmp/cloister-cas-XXXXXX";
    CLOISTER_CHECK(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~TestFolder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

}  // namespace cloister::cas::testing

// The whole service: state folder, store, both listeners under one key. When starting fails nothing runs;
// ending it ends the connections first, so that nothing is acknowledged after the store is closed.
#pragma once

#include "attestation/evidence_verifier.h"
#include "cas/api.h"
#include "cas/collateral_keeper.h"
#include "cas/state_folder.h"

namespace cloister::cas {

struct CasOptions {
  std::filesystem::path state;
  std::string api_address = "127.0.0.1:8081";  // numeric; port 0: any free one
  std::string enclave_address = "127.0.0.1:18765";
  attestation::QuoteVerifierOptions evidence;  // which roots are trusted
  // Where collateral is kept and asked for. Empty folder: "collateral" in the state. Roots (the evidence's
  // that are no simulation), clock and minimum evaluation number are the evidence's.
  collateral::CacheOptions collateral;
  std::chrono::milliseconds collateral_interval{600000};
  ApiOptions api;
  ServiceOptions service;
};

class CasServer {
 public:
  // Denied: the state is in use. Integrity: the state is damaged. Unavailable: an address is.
  static Result<std::unique_ptr<CasServer>> start(const CasOptions& options);
  ~CasServer();
  CasServer(const CasServer&) = delete;
  CasServer& operator=(const CasServer&) = delete;

  const crypto::Digest& key_hash() const;  // what clients and enclaves pin
  const std::string& api_address() const;  // with the real port
  const std::string& enclave_address() const;

 private:
  class Impl;
  explicit CasServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cloister::cas

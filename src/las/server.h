// The local attestation service: turns the reports of this host's enclaves into quotes, and attaches the
// platform's collateral. With a simulated quoting enclave (attestation/sim_pki.h), or the machine's (aesm.h).
//
// It holds no secret of any enclave and decides nothing: a wrong answer only makes an attestation fail.
// Anyone who can connect may ask; bounds on connections, sizes and time keep it alive.
#pragma once

#include <memory>

#include "attestation/las_messages.h"
#include "las/quoter.h"

namespace cloister::las {

struct LasServerOptions {
  std::string address = "127.0.0.1:18766";        // numeric; port 0: any free one
  size_t max_connections = 256;                   // more are closed at once
  std::chrono::milliseconds idle_timeout{10000};  // for each request to arrive complete
  size_t max_requests = 1000;                     // per connection
};

class LasServer {
 public:
  // InvalidArgument or Unavailable when it cannot listen.
  static Result<std::unique_ptr<LasServer>> start(const LasServerOptions& options,
                                                  std::unique_ptr<Quoter> quoter);
  static Result<std::unique_ptr<LasServer>> start(const LasServerOptions& options, attestation::SimPki pki) {
    return start(options, simulated_quoter(std::move(pki)));
  }
  // Ends every connection and waits for their threads.
  ~LasServer();
  LasServer(const LasServer&) = delete;
  LasServer& operator=(const LasServer&) = delete;

  const std::string& address() const;  // with the real port
  attestation::LasStatus status() const;

 private:
  class Impl;
  explicit LasServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cloister::las

// For tests: a server on this machine that answers with the provisioning service's paths, headers and
// encodings.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "attestation/verifier.h"
#include "http/server.h"

namespace cloister::collateral::testing {

inline std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c))) {
      out += c;
    } else {
      const uint8_t byte = static_cast<uint8_t>(c);
      out += "%" + to_hex(ByteView(&byte, 1));
    }
  }
  return out;
}

// Intel's service in miniature: one bundle, served piece by piece.
class ServiceStandIn {
 public:
  explicit ServiceStandIn(attestation::CollateralBundle bundle, std::string tee = "sgx")
      : bundle_(std::move(bundle)), tee_(tee) {
    server_ = http::Server::start({}, [this](http::Exchange& exchange) { answer(exchange); }).value();
  }
  std::string url() const { return "http://" + server_->address(); }
  void serve(attestation::CollateralBundle bundle) {
    const std::lock_guard lock(mutex_);
    bundle_ = std::move(bundle);
  }
  void keep_no_root_list() { has_root_list_ = false; }  // Intel's own service has it elsewhere
  void fail(unsigned status) { status_ = status; }
  void delay(std::chrono::milliseconds time) { delay_ = time; }
  int requests() const { return requests_; }

 private:
  void answer(http::Exchange& exchange) {
    ++requests_;
    std::this_thread::sleep_for(delay_.load());
    const std::lock_guard lock(mutex_);
    http::Response response;
    response.status = status_;
    if (status_ == 200) fill(exchange.request(), response);
    static_cast<void>(exchange.respond(std::move(response)).ok());
  }
  void fill(const http::RequestHead& request, http::Response& response) const {
    const std::string sgx = "/sgx/certification/v4/", own = "/" + tee_ + "/certification/v4/";
    if (request.path == own + "tcb" && request.query.contains("fmspc")) {
      response.headers.emplace_back("TCB-Info-Issuer-Chain", percent_encoded(bundle_.tcb_info_issuer_chain));
      response.body = body("tcbInfo", bundle_.tcb_info, bundle_.tcb_info_signature);
    } else if (request.path == own + "qe/identity") {
      response.headers.emplace_back("SGX-Enclave-Identity-Issuer-Chain",
                                    percent_encoded(bundle_.qe_identity_issuer_chain));
      response.body = body("enclaveIdentity", bundle_.qe_identity, bundle_.qe_identity_signature);
    } else if (request.path == sgx + "pckcrl" && request.query.contains("ca")) {
      response.headers.emplace_back("SGX-PCK-CRL-Issuer-Chain",
                                    percent_encoded(bundle_.pck_crl_issuer_chain));
      response.content_type = "application/pkix-crl";
      response.body = std::string(as_text(bundle_.pck_crl));
    } else if (request.path == sgx + "rootcacrl" && has_root_list_) {
      response.body = to_hex(bundle_.root_ca_crl);
    } else {
      response.status = 404;
    }
  }
  static std::string body(const std::string& key, const std::string& inner, const Bytes& signature) {
    return "{\"" + key + "\":" + inner + ",\"signature\":\"" + to_hex(signature) + "\"}";
  }

  std::mutex mutex_;
  attestation::CollateralBundle bundle_;
  const std::string tee_;
  std::atomic<unsigned> status_ = 200;
  std::atomic<std::chrono::milliseconds> delay_{std::chrono::milliseconds(0)};
  std::atomic<int> requests_ = 0;
  std::atomic<bool> has_root_list_ = true;
  std::unique_ptr<http::Server> server_;  // last: ends first
};

// The host that only has the root's revocation list, as DER: certificates.trustedservices.intel.com.
class RootListHost {
 public:
  explicit RootListHost(ByteView der) : der_(as_text(der)) {
    server_ = http::Server::start({}, [this](http::Exchange& exchange) {
                ++requests_;
                http::Response response;
                response.content_type = "application/pkix-crl";
                const bool here = exchange.request().path == "/IntelSGXRootCA.der";
                response.status = here ? 200 : 404;
                if (here) response.body = der_;
                static_cast<void>(exchange.respond(std::move(response)).ok());
              }).value();
  }
  std::string url() const { return "http://" + server_->address() + "/IntelSGXRootCA.der"; }
  int requests() const { return requests_; }

 private:
  const std::string der_;
  std::atomic<int> requests_ = 0;
  std::unique_ptr<http::Server> server_;  // last: ends first
};

}  // namespace cloister::collateral::testing

// Evidence from the host's local attestation service. Works in the agent: no threads, names, files or JSON.
#pragma once

#include "attestation/las_messages.h"

namespace cloister::attestation {

struct LasClientOptions {
  std::string address;  // numeric "ip:port"
  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds reply_timeout{5000};  // of each answer
};

// One connection; not thread-safe. Every error names the address: Unavailable when the LAS is absent, too
// slow or too busy; Unsupported when it speaks another version; Denied when it refuses the report; Malformed
// when it does not speak the protocol.
class LasClient {
 public:
  // Connects and asks for the target info.
  static Result<LasClient> connect(const LasClientOptions& options);

  const ByteArray<512>& target_info() const { return target_.target; }
  LasMode mode() const { return target_.mode; }
  // The quote's content is checked by whoever it is for.
  Result<LasQuote> quote(const ByteArray<432>& report);
  Result<LasStatus> status();

 private:
  LasClient(Socket socket, LasClientOptions options)
      : socket_(std::move(socket)), options_(std::move(options)) {}
  Result<Bytes> ask(LasMessage question, ByteView payload, LasMessage answer);
  Result<Bytes> exchange(LasMessage question, ByteView payload, LasMessage answer);

  Socket socket_;
  LasClientOptions options_;
  LasTargetInfo target_;
};

}  // namespace cloister::attestation

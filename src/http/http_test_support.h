// A server, a raw connection to it for hostile bytes, and identities: what the tests of this part share.
#pragma once

#include <gtest/gtest.h>

#include <thread>

#include "http/client.h"
#include "http/server.h"
#include "http/transport.h"

namespace cloister::http {

inline crypto::TlsIdentity make_identity(const std::string& name) {
  crypto::KeyPair key = crypto::KeyPair::generate().value();
  crypto::CertificateOptions options;
  options.common_name = name;
  options.ip_addresses = {"127.0.0.1"};
  crypto::Certificate certificate = crypto::Certificate::self_signed(key, options).value();
  return {std::move(key), std::move(certificate)};
}

// Says what it got: method, path, header x-note, body.
inline void echo(Exchange& exchange) {
  const Result<std::string> body = exchange.read_body(1 << 20);
  Response response;
  if (!body.ok()) {
    response.status = body.error().code() == Code::InvalidArgument ? 413 : 400;
    response.body = body.error().message();
  } else {
    const RequestHead& head = exchange.request();
    response.body = head.method + " " + head.path + " " + std::string(head.header("x-note")) + " " + *body;
    for (const auto& [key, value] : head.query) response.body += " " + key + "=" + value;
  }
  EXPECT_TRUE(exchange.respond(std::move(response)).ok());
}

// Bytes in, bytes out, as a client that follows no rule would.
class RawClient {
 public:
  explicit RawClient(const std::string& address)
      : transport_(connect_tcp(address, deadline_in(std::chrono::seconds(5))).value()) {}
  bool send(std::string_view text) { return transport_.write_all(as_bytes(text), soon()).ok(); }
  // Until the server closes or nothing comes for five seconds ("TIMEOUT" at the end).
  std::string read_all() {
    std::string out;
    Bytes part(65536);
    for (;;) {
      const Result<size_t> count = transport_.read_some(part, soon());
      if (!count.ok()) return out + (count.error().message() == "timed out" ? "TIMEOUT" : "");
      if (*count == 0) return out;
      out.append(as_text(ByteView(part).first(*count)));
    }
  }
  std::string read_until(std::string_view end) {
    std::string out;
    Bytes byte(1);
    while (!out.ends_with(end)) {
      const Result<size_t> count = transport_.read_some(byte, soon());
      if (!count.ok() || *count == 0) return out + "<END>";
      out += static_cast<char>(byte[0]);
    }
    return out;
  }
  std::string ask(std::string_view text) {
    send(text);
    return read_all();
  }

 private:
  static Deadline soon() { return deadline_in(std::chrono::seconds(5)); }
  Transport transport_;
};

}  // namespace cloister::http

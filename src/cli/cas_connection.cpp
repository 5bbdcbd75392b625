#include "cli/cas_connection.h"

#include <algorithm>

#include "base/files.h"
#include "cas/identity.h"
#include "cas/trust.h"

namespace cloister::cli {

Result<HostPort> split_address(const std::string& text) {
  HostPort out;
  const size_t colons = static_cast<size_t>(std::count(text.begin(), text.end(), ':'));
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string::npos) return Error(Code::InvalidArgument, "not an address: " + text);
    out.host = text.substr(1, close - 1);
    const std::string rest = text.substr(close + 1);
    if (!rest.empty() && rest[0] != ':') return Error(Code::InvalidArgument, "not an address: " + text);
    if (!rest.empty()) out.port = rest.substr(1);
  } else if (colons == 1) {
    const size_t colon = text.find(':');
    out.host = text.substr(0, colon);
    out.port = text.substr(colon + 1);
    if (out.port.empty()) return Error(Code::InvalidArgument, "not an address: " + text);
  } else {
    out.host = text;
  }
  const bool digits =
      std::all_of(out.port.begin(), out.port.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (out.host.empty() || !digits || out.port.size() > 5 ||
      (!out.port.empty() && (std::stoi(out.port) == 0 || std::stoi(out.port) > 65535))) {
    return Error(Code::InvalidArgument, "not an address: " + text, "HOST or HOST:PORT");
  }
  return out;
}

std::string join_address(const std::string& host, const std::string& port) {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port.empty() ? name : name + ":" + port;
}

Result<crypto::Digest> insisted_key(const std::string& address) {
  Result<crypto::Digest> key = cas::trusted_key(address);
  if (key.ok() || key.error().code() != Code::NotFound) return key;
  return Error(Code::Denied, key.error().message(), key.error().hint());
}

Result<cas::Client> connect_cas(const std::string& address, const std::filesystem::path& conf) {
  const crypto::Digest key = TRY(insisted_key(address));
  TRY(make_private_folder(conf));
  const crypto::TlsIdentity identity = TRY(cas::load_or_create_identity(conf));
  return cas::Client::connect(address, key, identity);
}

}  // namespace cloister::cli

#include "transfer/names.h"
#include "transfer/remote.h"

namespace cloister::transfer {
namespace {

std::string first_line(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, text.find_first_of("\r\n")).substr(0, 200)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  return out;
}

Error status_error(const http::ClientResponse& response, const std::string& what) {
  Code code = Code::Malformed;
  const unsigned status = response.status;
  if (status == 404 || status == 410) code = Code::NotFound;
  if (status == 401 || status == 403) code = Code::Denied;
  if (status == 400 || status == 413) code = Code::InvalidArgument;
  if (status == 422) code = Code::Integrity;
  if (status == 408 || status == 429 || status >= 500) code = Code::Unavailable;
  const std::string text = first_line(response.body);
  return Error(code,
               what + ": the server answers " + std::to_string(status) + (text.empty() ? "" : " " + text));
}

Result<std::optional<crypto::Digest>> hash_in(const http::ClientResponse& response) {
  const std::string_view text = response.header("x-content-sha-256");
  if (text.empty()) return std::optional<crypto::Digest>();
  const Result<crypto::Digest> digest = array_from_hex<32>(text);
  if (!digest.ok()) return Error(Code::Malformed, "the server's X-Content-SHA-256 is not 64 hex digits");
  return std::optional<crypto::Digest>(*digest);
}

class HttpRemote : public Remote {
 public:
  Result<void> check(const std::string& url, const ClientOptions& options) override {
    TRY(http::fetch("HEAD", url, "", {}, options.http));
    return {};
  }

  Result<Uploaded> push(const std::string& remote, const std::string& name, const File& file,
                        const crypto::Digest& sha256, const ClientOptions& options) override {
    std::string target = remote;
    while (target.ends_with('/')) target.pop_back();
    target.append("/").append(percent_encode(name));
    http::ClientOptions http = options.http;
    http.progress = options.progress;
    const http::ClientResponse response =
        TRY(http::upload_file(target, file.path(), {"X-Content-SHA-256: " + to_hex(sha256)}, http));
    if (response.status != 200 && response.status != 201) return status_error(response, remote);
    const std::optional<crypto::Digest> arrived = TRY(hash_in(response));
    if (arrived && *arrived != sha256) {
      return Error(Code::Integrity,
                   remote + " received SHA-256 " + to_hex(*arrived) + ", sent was " + to_hex(sha256));
    }
    std::string url = first_line(response.body);
    const std::string scheme = scheme_of(url);
    if ((scheme != "http" && scheme != "https") || url.find(' ') != std::string::npos) {
      return Error(Code::Malformed, remote + " does not answer with an URL: " + url,
                   "is it a transfer service?");
    }
    return Uploaded{url, first_line(response.header("x-delete-token"))};
  }

  Result<void> remove(const std::string& remote, const Uploaded& upload,
                      const ClientOptions& options) override {
    if (upload.delete_token.empty()) return Error(Code::Denied, remote + " gave no token to delete with");
    const size_t scheme = upload.url.find("://");
    const size_t path = scheme == std::string::npos ? scheme : upload.url.find('/', scheme + 3);
    if (path == std::string::npos) return Error(Code::InvalidArgument, "not an upload: " + upload.url);
    std::string target = remote;
    while (target.ends_with('/')) target.pop_back();
    target.append(upload.url.substr(path));
    const http::ClientResponse response = TRY(
        http::fetch("DELETE", target, "", {"X-Delete-Token: " + upload.delete_token}, options.http, 4096));
    if (response.status != 200 && response.status != 204) return status_error(response, target);
    return {};
  }

  Result<void> pull(const std::string& url, const std::filesystem::path& part,
                    std::optional<crypto::Digest>& sha256, const ClientOptions& options) override {
    http::ClientOptions http = options.http;
    http.progress = options.progress;
    const http::ClientResponse response = TRY(http::download_file(url, part, http, options.max_file_size));
    if (response.status != 200 && response.status != 206) return status_error(response, url);
    sha256 = TRY(hash_in(response));
    return {};
  }
};

}  // namespace

std::unique_ptr<Remote> http_remote() { return std::make_unique<HttpRemote>(); }

}  // namespace cloister::transfer

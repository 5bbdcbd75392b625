#include "http/client.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>

#include "base/descriptor.h"
#include "crypto/encoding.h"
#include "http/ascii.h"
#include "http/curl_library.h"

namespace cloister::http {
namespace {

constexpr size_t kMaxHeaders = 64 << 10;
constexpr size_t kMaxErrorBody = 64 << 10;

struct FreeEasy {
  void operator()(CURL* easy) const { curl().easy_cleanup(easy); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl().slist_free_all(list); }
};
struct FreeUrl {
  void operator()(CURLU* url) const { curl().url_cleanup(url); }
};

struct Target {
  std::string scheme, host, port;
  bool is_loopback() const { return host == "localhost" || host == "[::1]" || host.starts_with("127."); }
  std::string name() const { return host + ":" + port; }
};

Result<Target> parse_url(const std::string& text) {
  if (find_curl() == nullptr)
    return Error(Code::Unsupported, "HTTP needs libcurl.so.4, which is not there",
                 "apt-get install libcurl4");
  const Error bad(Code::InvalidArgument, "not an URL of HTTP or HTTPS: " + text, "write http://HOST:PORT/…");
  const std::unique_ptr<CURLU, FreeUrl> url(curl().url());
  if (!url || curl().url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) return Error(bad);
  const auto part = [&url](CURLUPart which) {
    char* value = nullptr;
    std::string out;
    if (curl().url_get(url.get(), which, &value, CURLU_DEFAULT_PORT) == CURLUE_OK) out = value;
    curl().free(value);
    return out;
  };
  const std::string scheme = part(CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") return Error(bad);
  Target target{scheme, part(CURLUPART_HOST), part(CURLUPART_PORT)};
  if (target.host.empty()) return Error(bad);
  return target;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\r' || text.back() == '\n' || text.back() == ' ')) {
    text.remove_suffix(1);
  }
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  return text;
}

Error file_error(const std::filesystem::path& path, std::string_view what, int number) {
  const Code code = number == ENOENT ? Code::NotFound : number == EACCES ? Code::Denied : Code::Unavailable;
  std::string text = "cannot ";
  return Error(code,
               text.append(what).append(" ").append(path.string()).append(": ").append(::strerror(number)));
}

// A peer that closes while we send must be an error and not the end of the process, whatever layer of the
// library writes; and a library must not change what the process does with signals. So SIGPIPE is blocked in
// this thread alone, and one that came meanwhile is taken off.
class WithoutSigpipe {
 public:
  WithoutSigpipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~WithoutSigpipe() {
    const timespec now = {};
    while (!was_pending_ && ::sigtimedwait(&pipe_, nullptr, &now) < 0 && errno == EINTR) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  WithoutSigpipe(const WithoutSigpipe&) = delete;
  WithoutSigpipe& operator=(const WithoutSigpipe&) = delete;

 private:
  sigset_t pipe_, before_;
  bool was_pending_ = false;
};

// One request: settings, callbacks and what came of it.
class Transfer {
 public:
  static Result<std::unique_ptr<Transfer>> make(const std::string& url, const ClientOptions& options,
                                                const std::vector<std::string>& headers) {
    Target target = TRY(parse_url(url));
    static std::once_flag once;
    std::call_once(once, [] { curl().global_init(CURL_GLOBAL_DEFAULT); });
    if (target.scheme == "http" && (options.expected_key || options.identity)) {
      return Error(Code::InvalidArgument, "a plain connection proves no key: " + url,
                   "write https://HOST:PORT/…");
    }
    std::unique_ptr<Transfer> transfer(new Transfer(options, std::move(target)));
    if (!transfer->easy_) return Error(Code::Internal, "libcurl does not start");
    TRY(transfer->set_up(url, headers));
    return transfer;
  }

  CURL* easy() const { return easy_.get(); }
  ClientResponse& response() { return response_; }
  // Takes the answer's bytes; an error ends the transfer and is what run() returns.
  std::function<Result<void>(ByteView)> sink;
  uint64_t resumed_at = 0;  // bytes that progress counts as done before the first

  template <class T>
  void set(CURLoption option, T value) {
    all_set_ = curl().easy_setopt(easy_.get(), option, value) == CURLE_OK && all_set_;
  }

  Result<void> run() {
    if (!all_set_) return Error(Code::Internal, "libcurl refuses a setting");
    const WithoutSigpipe quiet;
    const CURLcode code = curl().easy_perform(easy_.get());
    long status = 0;
    curl().easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
    response_.status = static_cast<unsigned>(status);
    if (failure_) return Error(*failure_);
    if (code != CURLE_OK) return describe(code);
    return {};
  }

  unsigned current_status() const {
    long status = 0;
    curl().easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
    return static_cast<unsigned>(status);
  }

 private:
  Transfer(const ClientOptions& options, Target target)
      : options_(options), target_(std::move(target)), easy_(curl().easy_init()) {}

  Result<void> set_up(const std::string& url, const std::vector<std::string>& headers) {
    bool has_type = false;
    for (const std::string& header : headers) {
      const bool one_line =
          std::none_of(header.begin(), header.end(), [](char c) { return c == '\r' || c == '\n'; });
      if (!one_line || header.find(':') == std::string::npos) {
        return Error(Code::InvalidArgument, "a request header is not one line of the form `Name: value`");
      }
      has_type = has_type || lower(header).starts_with("content-type:");
      headers_.reset(curl().slist_append(headers_.release(), header.c_str()));
    }
    if (!has_type)
      headers_.reset(curl().slist_append(headers_.release(), "Content-Type: application/octet-stream"));
    set(CURLOPT_URL, url.c_str());
    set(CURLOPT_HTTPHEADER, headers_.get());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_PATH_AS_IS, 1L);  // what is asked for is what the URL says
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout.count()));
    set(CURLOPT_USERAGENT, "cloister");
    set(CURLOPT_ERRORBUFFER, reason_);
    // A proxy of the environment cannot reach this machine's own services.
    if (target_.is_loopback()) set(CURLOPT_NOPROXY, "*");
    set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_NOPROGRESS, 0L);
    set(CURLOPT_XFERINFOFUNCTION, &Transfer::on_progress);
    set(CURLOPT_XFERINFODATA, this);
    return set_up_tls();
  }

  Result<void> set_up_tls() {
    set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    const bool by_authority = !options_.expected_key && !options_.insecure;
    set(CURLOPT_SSL_VERIFYPEER, by_authority ? 1L : 0L);
    set(CURLOPT_SSL_VERIFYHOST, by_authority ? 2L : 0L);
    if (options_.expected_key) {
      set(CURLOPT_PINNEDPUBLICKEY, ("sha256//" + crypto::base64_encode(*options_.expected_key)).c_str());
      set(CURLOPT_CERTINFO, 1L);  // to say which key it has instead
    }
    if (options_.identity) {
      certificate_ = options_.identity->certificate.pem();
      key_ = TRY(options_.identity->key.to_pkcs8_pem());
      curl_blob certificate{certificate_.data(), certificate_.size(), CURL_BLOB_NOCOPY};
      curl_blob key{const_cast<uint8_t*>(key_.expose().data()), key_.expose().size(), CURL_BLOB_NOCOPY};
      set(CURLOPT_SSLCERT_BLOB, &certificate);
      set(CURLOPT_SSLCERTTYPE, "PEM");
      set(CURLOPT_SSLKEY_BLOB, &key);
      set(CURLOPT_SSLKEYTYPE, "PEM");
    }
    return {};
  }

  static size_t on_body(char* data, size_t, size_t size, void* self) {
    auto* transfer = static_cast<Transfer*>(self);
    Result<void> taken = transfer->sink(as_bytes(std::string_view(data, size)));
    if (taken.ok()) return size;
    transfer->failure_ = std::move(taken).error();
    return size == 0 ? 1 : 0;
  }

  static size_t on_header(char* data, size_t, size_t size, void* self) {
    auto* transfer = static_cast<Transfer*>(self);
    const std::string_view line(data, size);
    if (line.starts_with("HTTP/")) {  // also after 100: only the last answer's headers count
      transfer->response_.headers.clear();
    } else if (const size_t colon = line.find(':'); colon != std::string_view::npos) {
      transfer->response_.headers[lower(line.substr(0, colon))] = trimmed(line.substr(colon + 1));
    }
    transfer->header_size_ += size;
    if (transfer->header_size_ <= kMaxHeaders) return size;
    transfer->failure_ =
        Error(Code::Malformed, transfer->target_.name() + ": the answer's head is too large");
    return 0;
  }

  static int on_progress(void* self, curl_off_t total_in, curl_off_t in, curl_off_t total_out,
                         curl_off_t out) {
    auto* transfer = static_cast<Transfer*>(self);
    const auto now = std::chrono::steady_clock::now();
    curl_off_t connected = 0;
    curl().easy_getinfo(transfer->easy_.get(), CURLINFO_PRETRANSFER_TIME_T, &connected);
    if (connected == 0 || in + out != transfer->moved_) {
      transfer->moved_ = in + out;
      transfer->last_move_ = now;
    } else if (now - transfer->last_move_ > transfer->options_.stall_timeout) {
      transfer->failure_ =
          Error(Code::Unavailable, transfer->target_.name() + " does not answer: no byte for " +
                                       std::to_string(transfer->options_.stall_timeout.count()) + " ms");
      return 1;
    }
    if (transfer->options_.progress && in + out > 0) {
      const bool sends = total_out > 0 && in == 0;
      const uint64_t before = transfer->current_status() == 206 ? transfer->resumed_at : 0;
      const auto total = static_cast<uint64_t>(sends ? total_out : total_in);
      transfer->options_.progress(before + static_cast<uint64_t>(sends ? out : in),
                                  total == 0 ? 0 : before + total);
    }
    return 0;
  }

  // The key that a refused server has, from its certificate.
  std::string presented_key() const {
    curl_certinfo* chain = nullptr;
    if (curl().easy_getinfo(easy_.get(), CURLINFO_CERTINFO, &chain) != CURLE_OK || chain == nullptr ||
        chain->num_of_certs < 1) {
      return "another";
    }
    for (const curl_slist* item = chain->certinfo[0]; item != nullptr; item = item->next) {
      const std::string_view text = item->data;
      if (!text.starts_with("Cert:")) continue;
      const Result<crypto::Certificate> certificate = crypto::Certificate::from_pem(text.substr(5));
      if (certificate.ok()) return to_hex(certificate->spki_sha256());
    }
    return "another";
  }

  Error describe(CURLcode code) const {
    const std::string name = target_.name();
    const std::string reason = reason_[0] != '\0' ? reason_ : curl().easy_strerror(code);
    long number = 0;
    curl().easy_getinfo(easy_.get(), CURLINFO_OS_ERRNO, &number);
    switch (code) {
      case CURLE_URL_MALFORMAT:
      case CURLE_UNSUPPORTED_PROTOCOL:
        return Error(Code::InvalidArgument, "not an URL of HTTP or HTTPS: " + reason);
      case CURLE_COULDNT_RESOLVE_HOST:
        return Error(Code::Unavailable, "cannot reach " + name + ": no such host");
      case CURLE_COULDNT_CONNECT:
        return Error(Code::Unavailable, "cannot reach " + name + ": " +
                                            (number != 0 ? ::strerror(static_cast<int>(number)) : reason));
      case CURLE_OPERATION_TIMEDOUT:
        return Error(Code::Unavailable, "cannot reach " + name + ": timed out");
      case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        return Error(Code::Denied, name + " is not the expected server: its key is " + presented_key() +
                                       ", expected " + to_hex(*options_.expected_key));
      case CURLE_PEER_FAILED_VERIFICATION:
        return Error(Code::Denied, name + " is not the expected server: " + reason,
                     "pin its key, or have its certificate's authority known to this system");
      case CURLE_WEIRD_SERVER_REPLY:
        return Error(Code::Malformed, name + ": not an HTTP answer: " + reason);
      default:
        return Error(Code::Unavailable, "the connection to " + name + " failed: " + reason);
    }
  }

  const ClientOptions& options_;
  const Target target_;
  std::unique_ptr<CURL, FreeEasy> easy_;
  std::unique_ptr<curl_slist, FreeList> headers_;
  std::string certificate_;
  SecretBytes key_;
  char reason_[CURL_ERROR_SIZE] = {};
  bool all_set_ = true;
  ClientResponse response_;
  std::optional<Error> failure_;
  size_t header_size_ = 0;
  curl_off_t moved_ = 0;
  std::chrono::steady_clock::time_point last_move_ = std::chrono::steady_clock::now();
};

// Gathers the answer in memory.
void keep_body(Transfer& transfer, size_t limit) {
  transfer.sink = [&transfer, limit](ByteView part) -> Result<void> {
    std::string& body = transfer.response().body;
    if (part.size() > limit - body.size()) {
      return Error(Code::Malformed, "the answer is larger than " + std::to_string(limit) + " bytes");
    }
    body.append(as_text(part));
    return {};
  };
}

class File {
 public:
  static Result<File> open(const std::filesystem::path& path, int flags, std::string_view what) {
    File file(::open(path.c_str(), flags | O_CLOEXEC, 0600));
    if (file.fd() < 0) return file_error(path, what, errno);
    struct stat status = {};
    if (::fstat(file.fd(), &status) != 0) return file_error(path, what, errno);
    if (!S_ISREG(status.st_mode)) return Error(Code::InvalidArgument, path.string() + " is not a file");
    file.size_ = static_cast<uint64_t>(status.st_size);
    return file;
  }
  int fd() const { return descriptor_.get(); }
  uint64_t size() const { return size_; }

 private:
  explicit File(int fd) : descriptor_(fd) {}
  Descriptor descriptor_;
  uint64_t size_ = 0;
};

size_t read_file_part(char* out, size_t, size_t size, void* file) {
  const ssize_t count = ::read(static_cast<File*>(file)->fd(), out, size);
  return count < 0 ? CURL_READFUNC_ABORT : static_cast<size_t>(count);
}

int seek_file(void* file, curl_off_t offset, int origin) {
  return ::lseek(static_cast<File*>(file)->fd(), offset, origin) < 0 ? CURL_SEEKFUNC_FAIL : CURL_SEEKFUNC_OK;
}

// "bytes 5-9/10" or "bytes */10" → the number after '/', and the first one.
struct ContentRange {
  std::optional<uint64_t> start, total;
};
ContentRange parse_content_range(std::string_view text) {
  ContentRange out;
  const auto number = [](std::string_view digits) -> std::optional<uint64_t> {
    if (digits.empty() || digits.size() > 18) return std::nullopt;
    uint64_t value = 0;
    for (const char c : digits) {
      if (c < '0' || c > '9') return std::nullopt;
      value = value * 10 + static_cast<uint64_t>(c - '0');
    }
    return value;
  };
  const size_t slash = text.find('/');
  if (!text.starts_with("bytes ") || slash == std::string_view::npos) return out;
  out.total = number(text.substr(slash + 1));
  out.start = number(text.substr(6, text.find('-') - 6));
  return out;
}

// Where the bytes of a download go, decided with the first of them: only then the status is known.
class Landing {
 public:
  Landing(Transfer& transfer, const File& file, std::filesystem::path path, uint64_t limit)
      : transfer_(transfer), file_(file), path_(std::move(path)), limit_(limit) {}

  Result<void> take(ByteView part) {
    if (!started_) TRY(start());
    if (is_error_) return take_error(part);
    if (part.size() > limit_ - std::min(offset_, limit_)) {
      return Error(Code::Malformed, "the file is larger than " + std::to_string(limit_) + " bytes");
    }
    while (!part.empty()) {
      const ssize_t count = ::pwrite(file_.fd(), part.data(), part.size(), static_cast<off_t>(offset_));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return file_error(path_, "write", errno);
      offset_ += static_cast<uint64_t>(count);
      part = part.subspan(static_cast<size_t>(count));
    }
    return {};
  }

  // Also when no byte came: an empty file, too, must be cut to its length.
  Result<void> start() {
    started_ = true;
    const unsigned status = transfer_.current_status();
    is_error_ = status != 200 && status != 206;
    if (is_error_) return {};
    if (status == 206) {
      const ContentRange range = parse_content_range(transfer_.response().header("content-range"));
      if (range.start != file_.size())
        return Error(Code::Malformed, "the server sent another part than asked");
      offset_ = file_.size();
    }
    if (::ftruncate(file_.fd(), static_cast<off_t>(offset_)) != 0) return file_error(path_, "cut", errno);
    return {};
  }
  bool started() const { return started_; }

 private:
  Result<void> take_error(ByteView part) {
    std::string& body = transfer_.response().body;
    body.append(as_text(part.first(std::min(part.size(), kMaxErrorBody - body.size()))));
    return {};
  }

  Transfer& transfer_;
  const File& file_;
  const std::filesystem::path path_;
  const uint64_t limit_;
  bool started_ = false, is_error_ = false;
  uint64_t offset_ = 0;
};

}  // namespace

std::string_view ClientResponse::header(const std::string& lower_name) const {
  const auto found = headers.find(lower_name);
  return found == headers.end() ? std::string_view() : std::string_view(found->second);
}

Result<ClientResponse> fetch(std::string_view method, const std::string& url, std::string_view body,
                             const std::vector<std::string>& headers, const ClientOptions& options,
                             size_t body_limit) {
  const auto transfer = TRY(Transfer::make(url, options, headers));
  const std::string verb(method);
  if (verb.empty() || verb.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") != std::string::npos) {
    return Error(Code::InvalidArgument, "not an HTTP method: " + verb);
  }
  if (verb == "HEAD") {
    transfer->set(CURLOPT_NOBODY, 1L);
  } else if (verb == "POST" || verb == "PUT" || verb == "PATCH" || !body.empty()) {
    transfer->set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    transfer->set(CURLOPT_POSTFIELDS, body.empty() ? "" : body.data());
    transfer->set(CURLOPT_CUSTOMREQUEST, verb.c_str());
  } else {
    transfer->set(CURLOPT_HTTPGET, 1L);
    transfer->set(CURLOPT_CUSTOMREQUEST, verb.c_str());
  }
  keep_body(*transfer, body_limit);
  TRY(transfer->run());
  return std::move(transfer->response());
}

Result<ClientResponse> upload_file(const std::string& url, const std::filesystem::path& path,
                                   const std::vector<std::string>& headers, const ClientOptions& options) {
  File file = TRY(File::open(path, O_RDONLY, "open"));
  const auto transfer = TRY(Transfer::make(url, options, headers));
  transfer->set(CURLOPT_UPLOAD, 1L);
  transfer->set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(file.size()));
  transfer->set(CURLOPT_READFUNCTION, read_file_part);
  transfer->set(CURLOPT_READDATA, &file);
  transfer->set(CURLOPT_SEEKFUNCTION, seek_file);
  transfer->set(CURLOPT_SEEKDATA, &file);
  keep_body(*transfer, 1 << 20);
  TRY(transfer->run());
  return std::move(transfer->response());
}

Result<ClientResponse> download_file(const std::string& url, const std::filesystem::path& to,
                                     const ClientOptions& options, uint64_t size_limit) {
  const File file = TRY(File::open(to, O_RDWR | O_CREAT, "create"));
  const auto transfer = TRY(Transfer::make(url, options, {}));
  const std::string range = std::to_string(file.size()) + "-";
  if (file.size() > 0) transfer->set(CURLOPT_RANGE, range.c_str());
  transfer->resumed_at = file.size();
  Landing landing(*transfer, file, to, size_limit);
  transfer->sink = [&landing](ByteView part) { return landing.take(part); };
  TRY(transfer->run());
  ClientResponse& response = transfer->response();
  if (response.status == 416 && file.size() > 0) {
    const ContentRange whole = parse_content_range(response.header("content-range"));
    if (whole.total == file.size()) {
      response.status = 206;
      response.body.clear();
    }
  } else if (!landing.started()) {
    TRY(landing.start());
  }
  if (::fsync(file.fd()) != 0) return file_error(to, "sync", errno);
  return std::move(response);
}

}  // namespace cloister::http

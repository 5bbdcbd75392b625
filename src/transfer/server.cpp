#include "transfer/server.h"

#include <algorithm>
#include <condition_variable>
#include <thread>

#include "transfer/names.h"
#include "transfer/pages.h"

namespace cloister::transfer {
namespace {

using http::Exchange;
using http::Response;

constexpr size_t kShownEntries = 1000;
constexpr size_t kBufferSize = 256 << 10;
constexpr std::chrono::minutes kSweepInterval{1};

std::optional<uint64_t> parse_number(std::string_view text) {
  if (text.empty() || text.size() > 18) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

bool is_host(std::string_view text) {
  return !text.empty() && text.size() <= 255 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == ':' || c == '[' || c == ']';
  });
}

Response plain(unsigned status, std::string text) {
  Response response;
  response.status = status;
  response.body = std::move(text) + "\n";
  return response;
}

// What a request gets in place of an answer.
struct Refusal {
  unsigned status;
  std::string text;
  Refusal(unsigned code, std::string why) : status(code), text(std::move(why)) {}
  Refusal(const Error& error);  // NOLINT: implicit on purpose
};

unsigned status_of(Code code) {
  switch (code) {
    case Code::InvalidArgument:
    case Code::Malformed:
      return 400;
    case Code::NotFound:
      return 404;
    case Code::Denied:
      return 403;
    case Code::Integrity:
      return 422;
    case Code::Unavailable:
    case Code::Internal:
      return 507;
    case Code::Unsupported:
      return 500;
  }
  return 500;
}

// Internal errors name paths of this machine, which are not a stranger's business.
Refusal::Refusal(const Error& error)
    : status(status_of(error.code())),
      text(error.code() == Code::Internal ? "this cannot be stored now" : error.message()) {}

template <class T>
using Answer = BasicResult<T, Refusal>;

// URLs are secrets: nothing that the page loads or links to may learn them, nor an index of the web.
void protect(Response& response) {
  response.headers.emplace_back("Referrer-Policy", "no-referrer");
  response.headers.emplace_back("X-Robots-Tag", "noindex");
  response.headers.emplace_back("Cache-Control", "private, no-cache");
  response.headers.emplace_back("Vary", "Accept");
}

Response html(std::string body) {
  Response response;
  response.content_type = "text/html; charset=utf-8";
  response.headers.emplace_back("Content-Security-Policy",
                                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
  response.body = std::move(body);
  protect(response);
  return response;
}

Response json(std::string body) {
  Response response;
  response.content_type = "application/json";
  response.body = std::move(body);
  protect(response);
  return response;
}

bool accepts(const Exchange& exchange, std::string_view type) {
  return exchange.request().header("accept").find(type) != std::string_view::npos;
}

struct PathParts {
  std::string id, name;
  bool ends_with_slash = false;
};

// "/ID", "/ID/", "/ID/NAME" and "/ID/NAME/". A deeper path names nothing.
std::optional<PathParts> split(std::string_view path) {
  PathParts parts;
  path.remove_prefix(1);
  if (path.ends_with('/')) {
    parts.ends_with_slash = true;
    path.remove_suffix(1);
  }
  const size_t slash = path.find('/');
  parts.id = path.substr(0, slash);
  if (slash != std::string_view::npos) parts.name = path.substr(slash + 1);
  if (parts.id.empty() || parts.name.find('/') != std::string::npos) return std::nullopt;
  return parts;
}

}  // namespace

std::optional<ByteRange> parse_range(std::string_view text, uint64_t size) {
  if (!text.starts_with("bytes=")) return std::nullopt;
  text.remove_prefix(6);
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::string_view from = text.substr(0, dash), to = text.substr(dash + 1);
  const auto first = parse_number(from), last = parse_number(to);
  if ((!from.empty() && !first) || (!to.empty() && !last) || (!first && !last)) return std::nullopt;
  if (!first) {
    const uint64_t count = std::min(*last, size);
    return ByteRange{count > 0, size - count, size};
  }
  if (last && *last < *first) return std::nullopt;
  return ByteRange{*first < size, *first, last ? std::min(size, *last + 1) : size};
}

class TransferServer::Impl {
 public:
  Impl(const TransferServerOptions& options, std::unique_ptr<Store> store)
      : options_(options), store_(std::move(store)) {}

  ~Impl() {
    server_.reset();  // no handler runs any more
    if (!sweeper_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    sweeper_.join();
  }

  Result<void> start() {
    server_ = TRY(http::Server::start(options_.http, [this](Exchange& exchange) { handle(exchange); }));
    sweeper_ = std::thread([this] { sweep(); });
    return {};
  }

  const std::string& address() const { return server_->address(); }
  std::string scheme() const { return options_.http.tls ? "https://" : "http://"; }
  Store& store() { return *store_; }

 private:
  void sweep() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, kSweepInterval, [this] { return stopping_; })) store_->remove_expired();
  }

  void handle(Exchange& exchange) {
    const std::string& method = exchange.request().method;
    Result<void> sent;
    if (method == "PUT" || method == "POST") {
      sent = upload(exchange);
    } else if (method == "GET" || method == "HEAD") {
      sent = get(exchange);
    } else if (method == "DELETE") {
      sent = remove(exchange);
    } else {
      Response response = plain(405, "GET, HEAD, PUT, POST and DELETE only");
      response.headers.emplace_back("Allow", "GET, HEAD, PUT, POST, DELETE");
      sent = exchange.respond(std::move(response));
    }
    static_cast<void>(sent);  // the client is gone; there is nobody to tell
  }

  std::string base_url(const Exchange& exchange) const {
    if (!options_.public_url.empty()) return options_.public_url;
    const std::string_view host = exchange.request().header("host");
    return scheme() + (is_host(host) ? std::string(host) : server_->address());
  }

  std::string url_of(const Exchange& exchange, const Upload& upload) const {
    return base_url(exchange) + "/" + upload.id + "/" + percent_encode(upload.name);
  }

  Result<void> upload(Exchange& exchange) {
    const Answer<Store::Incoming::Published> published = receive(exchange);
    if (!published.ok()) return exchange.respond(plain(published.error().status, published.error().text));
    const std::string url = url_of(exchange, published->upload);
    Response response = plain(201, url);
    response.headers.emplace_back("Location", url);
    response.headers.emplace_back("X-Content-SHA-256", to_hex(published->upload.sha256));
    response.headers.emplace_back("X-Delete-Token", published->token);
    response.headers.emplace_back("X-Url-Delete", url + "?token=" + published->token);
    return exchange.respond(std::move(response));
  }

  Answer<Store::Incoming::Published> receive(Exchange& exchange) {
    const http::RequestHead& head = exchange.request();
    std::optional<crypto::Digest> expected;
    if (const std::string_view text = head.header("x-content-sha-256"); !text.empty()) {
      Result<crypto::Digest> digest = array_from_hex<32>(text);
      if (!digest.ok()) return Refusal(400, "X-Content-SHA-256 is not 64 hex digits");
      expected = *digest;
    }
    const uint64_t limit = store_->options().max_file_size;
    const Refusal too_large(413, "larger than " + std::to_string(limit) + " bytes");
    if (head.content_length.value_or(0) > limit) return Refusal(too_large);
    const auto incoming = TRY(store_->begin(head.path.substr(1), head.content_length));
    Bytes part(kBufferSize);
    for (uint64_t arrived = 0;;) {
      const size_t count = TRY(exchange.read_body_some(part));
      if (count == 0) break;
      arrived += count;
      if (arrived > limit) return Refusal(too_large);
      TRY(incoming->write(ByteView(part).first(count)));
    }
    const crypto::Digest digest = incoming->finish();
    if (expected && *expected != digest) {
      return Refusal(422, "the content has SHA-256 " + to_hex(digest) + ", expected " + to_hex(*expected));
    }
    return TRY(incoming->publish());
  }

  Result<void> get(Exchange& exchange) {
    const http::RequestHead& head = exchange.request();
    if (head.path == "/") {
      const bool wants_json = accepts(exchange, "application/json");
      return exchange.respond(wants_json ? json(home_json(store_->options()))
                                         : html(home_html(store_->options(), base_url(exchange))));
    }
    const std::optional<PathParts> parts = split(head.path);
    const std::optional<Upload> upload = parts ? store_->find(parts->id) : std::nullopt;
    // A wrong name is as unknown as a wrong ID.
    if (!upload || (!parts->name.empty() && parts->name != upload->name)) {
      return exchange.respond(plain(404, "no such upload; it may have been removed or have expired"));
    }
    const bool names_page = parts->name.empty() || parts->ends_with_slash;
    const bool wants_bytes = head.query.contains("download") || !head.header("range").empty();
    const bool wants_json = accepts(exchange, "application/json");
    if (names_page || (!wants_bytes && (wants_json || accepts(exchange, "text/html")))) {
      return exchange.respond(describe(exchange, *upload, wants_json));
    }
    return send(exchange, *upload);
  }

  Response describe(const Exchange& exchange, const Upload& upload, bool as_json) const {
    UploadView view;
    view.upload = upload;
    view.url = url_of(exchange, upload);
    const int64_t max_age = store_->options().max_age;
    if (max_age > 0) view.expires = upload.created + max_age;
    const Result<File> content = store_->open_content(upload);
    if (!content.ok()) return plain(404, "no such upload; it may have been removed or have expired");
    Result<ZipListing> listing = list_zip(content->path(), kShownEntries);
    if (listing.ok()) view.listing = std::move(*listing);
    return as_json ? json(upload_json(view)) : html(upload_html(view));
  }

  Result<void> send(Exchange& exchange, const Upload& upload) {
    const http::RequestHead& head = exchange.request();
    const Result<File> content = store_->open_content(upload);
    if (!content.ok()) return exchange.respond(plain(404, "no such upload"));
    const std::string etag = "\"" + to_hex(upload.sha256) + "\"";
    Response response;
    response.content_type = "application/octet-stream";
    protect(response);
    response.headers.emplace_back("Accept-Ranges", "bytes");
    response.headers.emplace_back("ETag", etag);
    response.headers.emplace_back("X-Content-SHA-256", to_hex(upload.sha256));
    response.headers.emplace_back("Content-Disposition",
                                  "attachment; filename*=UTF-8''" + percent_encode(upload.name));
    ByteRange range{true, 0, upload.size};
    const std::string_view condition = head.header("if-range");
    const auto asked = parse_range(head.header("range"), upload.size);
    if (asked && (condition.empty() || condition == etag)) {
      range = *asked;
      response.status = range.satisfiable ? 206 : 416;
      const std::string part =
          range.satisfiable ? std::to_string(range.begin) + "-" + std::to_string(range.end - 1) : "*";
      response.headers.emplace_back("Content-Range", "bytes " + part + "/" + std::to_string(upload.size));
    }
    if (!range.satisfiable) return exchange.respond(std::move(response));
    uint64_t at = range.begin;
    return exchange.respond_stream(response, range.end - range.begin,
                                   [&content, &at](MutableByteView out) -> Result<size_t> {
                                     const size_t count = TRY(content->read_at(at, out));
                                     at += count;
                                     return size_t{count};
                                   });
  }

  Result<void> remove(Exchange& exchange) {
    const http::RequestHead& head = exchange.request();
    const std::optional<PathParts> parts = split(head.path);
    const std::optional<Upload> upload = parts ? store_->find(parts->id) : std::nullopt;
    if (!upload || parts->name != upload->name) return exchange.respond(plain(404, "no such upload"));
    const auto query = head.query.find("token");
    const std::string token(query != head.query.end() ? std::string_view(query->second)
                                                      : head.header("x-delete-token"));
    const Result<void> removed = store_->remove(upload->id, token);
    if (!removed.ok()) {
      const Refusal refusal(removed.error());
      return exchange.respond(plain(refusal.status, refusal.text));
    }
    Response response;
    response.status = 204;
    response.content_type.clear();
    return exchange.respond(std::move(response));
  }

  const TransferServerOptions options_;
  const std::unique_ptr<Store> store_;
  std::unique_ptr<http::Server> server_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread sweeper_;
};

TransferServer::TransferServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TransferServer::~TransferServer() = default;
const std::string& TransferServer::address() const { return impl_->address(); }
std::string TransferServer::url() const { return impl_->scheme() + impl_->address(); }
Store& TransferServer::store() { return impl_->store(); }

Result<std::unique_ptr<TransferServer>> TransferServer::start(const TransferServerOptions& given) {
  TransferServerOptions options = given;
  while (options.public_url.ends_with('/')) options.public_url.pop_back();
  auto store = TRY(Store::open(options.store));
  store->remove_expired();
  auto impl = std::make_unique<Impl>(options, std::move(store));
  TRY(impl->start());
  return std::unique_ptr<TransferServer>(new TransferServer(std::move(impl)));
}

}  // namespace cloister::transfer

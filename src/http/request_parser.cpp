#include "http/request_parser.h"

#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>

#include <algorithm>

#include "http/ascii.h"

namespace cloister::http {
namespace {

namespace beast = boost::beast::http;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Nothing for a broken escape or a control character, also an escaped one: no path or token needs these, and
// logs, file names and headers are safer without.
std::optional<std::string> decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_digit(text[i + 1]);
      const int low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return std::nullopt;
    out += c;
  }
  return out;
}

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

std::optional<BadRequest> parse_query(std::string_view text, std::map<std::string, std::string>& query) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    const size_t equals = std::min(pair.find('='), pair.size());
    const auto key = decode(pair.substr(0, equals), true);
    const auto value = decode(pair.substr(std::min(equals + 1, pair.size())), true);
    if (!key || !value) return BadRequest{400, "the query is not percent-encoded text"};
    // Two readers of one request must not see two values.
    if (!query.emplace(*key, *value).second) return BadRequest{400, "a query key is given twice"};
  }
  return std::nullopt;
}

BadRequest describe(const boost::system::error_code& error) {
  if (error == beast::error::header_limit) return {431, "the request's head is too large"};
  if (error == beast::error::bad_version) return {505, "HTTP/1.0 and HTTP/1.1 only"};
  return {400, "not an HTTP request: " + error.message()};
}

}  // namespace

std::string_view RequestHead::header(std::string_view lower_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_name) return value;
  }
  return {};
}

std::optional<BadRequest> parse_target(std::string_view target, RequestHead& head) {
  for (const std::string_view scheme : {"http://", "https://"}) {  // RFC 9112, 3.2.2: absolute form
    if (lower(target.substr(0, scheme.size())) != scheme) continue;
    const size_t path = target.find_first_of("/?", scheme.size());
    target = path == std::string_view::npos ? std::string_view("/") : target.substr(path);
    if (target.front() == '?') return BadRequest{400, "the target has no path"};
    break;
  }
  const size_t question = std::min(target.find('?'), target.size());
  auto path = decode(target.substr(0, question), false);
  if (!path || path->empty() || path->front() != '/') {
    return BadRequest{400, "the target is not a percent-encoded path"};
  }
  head.path = std::move(*path);
  return parse_query(target.substr(std::min(question + 1, target.size())), head.query);
}

struct RequestParser::Impl {
  beast::request_parser<beast::buffer_body> parser;
};

RequestParser::RequestParser(size_t max_head_size)
    : impl_(std::make_unique<Impl>()), max_head_size_(max_head_size) {
  impl_->parser.header_limit(static_cast<uint32_t>(std::min<size_t>(max_head_size, UINT32_MAX)));
  impl_->parser.body_limit(UINT64_MAX);  // the handler's business (boost::none means 0 in Beast 1.74)
}

RequestParser::~RequestParser() = default;

size_t RequestParser::read_head(ByteView unread) {
  boost::system::error_code error;
  const size_t used = impl_->parser.put(boost::asio::const_buffer(unread.data(), unread.size()), error);
  head_used_ += used;
  if (error && error != beast::error::need_more && error != beast::error::need_buffer) {
    bad_ = describe(error);
  } else if (head_used_ + (head_done() ? 0 : unread.size() - used) > max_head_size_) {
    bad_ = BadRequest{431, "the request's head is too large"};
  } else if (head_done()) {
    finish_head();
  }
  return used;
}

void RequestParser::finish_head() {
  const auto& message = impl_->parser.get();
  head_.method = std::string(view(message.method_string()));
  size_t hosts = 0;
  for (const auto& field : message) {
    head_.headers.emplace_back(lower(view(field.name_string())), std::string(view(field.value())));
    if (head_.headers.back().first == "host") ++hosts;
  }
  // RFC 9112, 3.2: exactly one for 1.1.
  if (hosts > 1 || (hosts == 0 && message.version() >= 11)) {
    bad_ = BadRequest{400, "a request has exactly one Host header"};
    return;
  }
  // RFC 9112, 6.1: what is coded in a way that we do not know has a length that we do not know.
  size_t codings = 0;
  for (const auto& [name, value] : head_.headers) {
    if (name != "transfer-encoding") continue;
    if (++codings > 1 || lower(value) != "chunked") {
      bad_ = BadRequest{501, "no transfer coding but chunked, once"};
      return;
    }
  }
  const auto length = impl_->parser.content_length();
  if (length) head_.content_length = *length;
  bad_ = parse_target(view(message.target()), head_);
}

bool RequestParser::head_done() const { return impl_->parser.is_header_done(); }
bool RequestParser::keep_alive() const {
  return impl_->parser.get().version() >= 11 && impl_->parser.keep_alive();
}
bool RequestParser::expects_continue() const {
  return impl_->parser.get().version() >= 11 && lower(head_.header("expect")) == "100-continue";
}
bool RequestParser::body_done() const { return impl_->parser.is_done(); }

Result<RequestParser::BodyStep> RequestParser::read_body(ByteView unread, MutableByteView out) {
  BodyStep step;
  if (body_done() || unread.empty() || out.empty()) return step;
  auto& body = impl_->parser.get().body();
  body.data = out.data();
  body.size = out.size();
  body.more = true;
  boost::system::error_code error;
  step.used = impl_->parser.put(boost::asio::const_buffer(unread.data(), unread.size()), error);
  step.written = out.size() - body.size;
  if (error && error != beast::error::need_more && error != beast::error::need_buffer) {
    return Error(Code::Malformed, "the request's body: " + error.message());
  }
  return step;
}

}  // namespace cloister::http

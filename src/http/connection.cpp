#include "http/connection.h"

#include <algorithm>
#include <ctime>
#include <exception>

namespace cloister::http {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kBufferSize = 64 << 10;
// A body that the handler left unread is skipped up to here to keep the connection; beyond, it is closed.
constexpr size_t kMaxSkippedBody = 256 << 10;

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts = {};
  ::gmtime_r(&now, &parts);
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  char text[64];
  std::snprintf(text, sizeof(text), "%s, %02d %s %d %02d:%02d:%02d GMT", kDays[parts.tm_wday], parts.tm_mday,
                kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
  return text;
}

// A line end in a header would let its author write headers, or a whole answer, of his own.
bool is_one_line(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) >= 0x20 || c == '\t'; });
}

bool has_no_body(unsigned status) { return status < 200 || status == 204 || status == 304; }

Result<std::string> format_head(const ServerOptions& options, const Response& response, uint64_t size,
                                bool close) {
  std::string out = "HTTP/1.1 " + std::to_string(response.status) + " ";
  out.append(reason_phrase(response.status)).append("\r\n");
  const auto add = [&out](std::string_view name, std::string_view value) {
    out.append(name).append(": ").append(value).append("\r\n");
  };
  add("Date", http_date());
  add("Server", options.server_name);
  if (!response.content_type.empty()) {
    if (!is_one_line(response.content_type)) return Error(Code::Internal, "content type with a line end");
    add("Content-Type", response.content_type);
    add("X-Content-Type-Options", "nosniff");
  }
  for (const auto& [name, value] : response.headers) {
    if (name.empty() || !is_one_line(name) || !is_one_line(value)) {
      return Error(Code::Internal, "a response header is not one line");
    }
    add(name, value);
  }
  if (!has_no_body(response.status)) add("Content-Length", std::to_string(size));
  if (close) add("Connection", "close");
  return out.append("\r\n");
}

}  // namespace

std::string_view reason_phrase(unsigned status) {
  static constexpr std::pair<unsigned, std::string_view> kPhrases[] = {
      {100, "Continue"},
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {206, "Partial Content"},
      {301, "Moved Permanently"},
      {302, "Found"},
      {303, "See Other"},
      {304, "Not Modified"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {410, "Gone"},
      {411, "Length Required"},
      {412, "Precondition Failed"},
      {413, "Content Too Large"},
      {415, "Unsupported Media Type"},
      {416, "Range Not Satisfiable"},
      {422, "Unprocessable Content"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {503, "Service Unavailable"},
      {505, "HTTP Version Not Supported"},
      {507, "Insufficient Storage"}};
  for (const auto& [number, phrase] : kPhrases) {
    if (number == status) return phrase;
  }
  return "Status";
}

std::string closing_answer(const ServerOptions& options, const BadRequest& why) {
  Response response;
  response.status = why.status;
  response.body = why.text + "\n";
  return format_head(options, response, response.body.size(), true).value() + response.body;
}

class Exchange::Impl {
 public:
  Impl(Transport transport, const Peer& peer, const ServerOptions& options)
      : transport_(std::move(transport)), peer_(peer), options_(options), buffer_(kBufferSize) {}

  // False: the connection is over.
  bool serve_request(const Handler& handler, bool first) {
    RequestParser parser(options_.max_head_size);
    parser_ = &parser;
    answered_ = continued_ = false;
    close_ = false;
    body_wait_ = {};
    body_size_ = 0;
    if (!read_head(first)) return false;
    close_ = !parser.keep_alive();
    Exchange exchange(*this);
    try {
      handler(exchange);
    } catch (const std::exception&) {
      close_ = true;
    }
    if (!answered_) {
      close_ = true;
      static_cast<void>(respond({.status = 500, .body = "the request was not answered\n"}));
    }
    if (!close_ && !skip_body()) close_ = true;
    if (close_) transport_.close_notify();
    return !close_;
  }

  const RequestHead& request() const { return parser_->head(); }
  const Peer& peer() const { return peer_; }

  Result<size_t> read_body_some(MutableByteView out) {
    Result<size_t> got = read_body_part(out);
    if (!got.ok()) close_ = true;
    return got;
  }

  Result<std::string> read_body(size_t limit) {
    const auto too_large = [&] {
      close_ = true;
      return Error(Code::InvalidArgument, "larger than " + std::to_string(limit) + " bytes");
    };
    if (request().content_length.value_or(0) > limit) return too_large();
    std::string body;
    Bytes part(16 << 10);
    for (;;) {
      const size_t count = TRY(read_body_some(part));
      if (count == 0) return body;
      if (count > limit - body.size()) return too_large();
      body.append(as_text(ByteView(part).first(count)));
    }
  }

  Result<void> respond(Response response) {
    if (has_no_body(response.status)) response.body.clear();
    std::string out = TRY(begin_answer(response, response.body.size()));
    if (request().method != "HEAD") out += response.body;
    return write(as_bytes(out));
  }

  Result<void> respond_stream(const Response& head, uint64_t size, const Source& source) {
    const std::string text = TRY(begin_answer(head, size));
    TRY(write(as_bytes(text)));
    if (request().method == "HEAD") return {};
    Bytes part(kBufferSize);
    while (size > 0) {
      const size_t room = static_cast<size_t>(std::min<uint64_t>(size, part.size()));
      Result<size_t> count = source(MutableByteView(part).first(room));
      if (!count.ok() || *count == 0 || *count > room) {
        close_ = true;
        if (!count.ok()) return std::move(count).error();
        return Error(Code::Internal, "the answer's source ended early");
      }
      TRY(write(ByteView(part).first(*count)));
      size -= *count;
    }
    return {};
  }

 private:
  ByteView unread() const { return ByteView(buffer_).subspan(begin_, end_ - begin_); }

  // False: nothing more came.
  Result<bool> fill(Deadline deadline) {
    if (begin_ > 0) {
      std::copy(buffer_.begin() + static_cast<ptrdiff_t>(begin_),
                buffer_.begin() + static_cast<ptrdiff_t>(end_), buffer_.begin());
      end_ -= std::exchange(begin_, 0);
    }
    if (end_ == buffer_.size()) return Error(Code::Malformed, "a line of the request is too long");
    const size_t count = TRY(transport_.read_some(MutableByteView(buffer_).subspan(end_), deadline));
    end_ += count;
    return count > 0;
  }

  bool read_head(bool first) {
    // A new connection has asked for something: it gets less time than one that rests between requests.
    if (unread().empty()) {
      const Result<bool> more = fill(deadline_in(first ? options_.head_timeout : options_.idle_timeout));
      if (!more.ok() || !*more) return false;
    }
    const Deadline deadline = deadline_in(options_.head_timeout);
    for (;;) {
      begin_ += parser_->read_head(unread());
      if (parser_->bad()) return refuse(*parser_->bad());
      if (parser_->head_done()) return true;
      const Result<bool> more = fill(deadline);
      if (!more.ok() && Clock::now() >= deadline) return refuse({408, "the request's head came too slowly"});
      if (!more.ok() || !*more) return false;
    }
  }

  bool refuse(const BadRequest& why) {
    const std::string answer = closing_answer(options_, why);
    static_cast<void>(write(as_bytes(answer)));
    transport_.close_notify();
    return false;
  }

  Result<size_t> read_body_part(MutableByteView out) {
    if (out.empty()) return Error(Code::InvalidArgument, "no room for the body");
    if (parser_->body_done()) return size_t{0};
    if (parser_->expects_continue() && !continued_ && !answered_) {
      continued_ = true;
      TRY(write(as_bytes("HTTP/1.1 100 Continue\r\n\r\n")));
    }
    for (;;) {
      const RequestParser::BodyStep step = TRY(parser_->read_body(unread(), out));
      begin_ += step.used;
      body_size_ += step.written;
      if (step.written > 0) return size_t{step.written};
      if (parser_->body_done()) return size_t{0};
      if (step.used > 0) continue;
      if (!TRY(fill_body())) return Error(Code::Unavailable, "the peer left in the middle of the body");
    }
  }

  // Waiting is what is limited, not the handler's own time: a trickle must keep up with min_body_rate.
  Result<bool> fill_body() {
    const auto earned = std::chrono::milliseconds(
        static_cast<int64_t>(body_size_ * 1000 / std::max<size_t>(options_.min_body_rate, 1)));
    const auto left = options_.body_stall_timeout + earned - body_wait_;
    const auto wait = std::min<Clock::duration>(options_.body_stall_timeout, left);
    const auto start = Clock::now();
    Result<bool> more = fill(start + wait);
    body_wait_ += Clock::now() - start;
    return more;
  }

  Result<std::string> begin_answer(const Response& response, uint64_t size) {
    if (answered_) return Error(Code::Internal, "the request was answered already");
    // Without 100 the client may send its body or not: only a new connection tells them apart.
    if (parser_->expects_continue() && !continued_ && !parser_->body_done()) close_ = true;
    std::string head = TRY(format_head(options_, response, size, close_));
    answered_ = true;
    return head;
  }

  Result<void> write(ByteView data) {
    while (!data.empty()) {
      const ByteView part = data.first(std::min(data.size(), kBufferSize));
      Result<void> written = transport_.write_all(part, deadline_in(options_.body_stall_timeout));
      if (!written.ok()) {
        close_ = true;
        return written;
      }
      data = data.subspan(part.size());
    }
    return {};
  }

  bool skip_body() {
    Bytes part(kBufferSize);
    size_t skipped = 0;
    while (!parser_->body_done()) {
      const Result<size_t> count = read_body_part(part);
      if (!count.ok() || (skipped += *count) > kMaxSkippedBody) return false;
    }
    return true;
  }

  Transport transport_;
  const Peer& peer_;
  const ServerOptions& options_;
  Bytes buffer_;  // what was read and not yet used is [begin_, end_)
  size_t begin_ = 0, end_ = 0;

  // Of the current request.
  RequestParser* parser_ = nullptr;
  bool answered_ = false, continued_ = false, close_ = false;
  Clock::duration body_wait_{};
  uint64_t body_size_ = 0;
};

const RequestHead& Exchange::request() const { return impl_.request(); }
const Peer& Exchange::peer() const { return impl_.peer(); }
Result<std::string> Exchange::read_body(size_t limit) { return impl_.read_body(limit); }
Result<size_t> Exchange::read_body_some(MutableByteView out) { return impl_.read_body_some(out); }
Result<void> Exchange::respond(Response response) { return impl_.respond(std::move(response)); }
Result<void> Exchange::respond_stream(const Response& head, uint64_t size, const Source& source) {
  return impl_.respond_stream(head, size, source);
}

void serve_connection(Transport transport, const Peer& peer, const ServerOptions& options,
                      const Handler& handler) {
  Exchange::Impl connection(std::move(transport), peer, options);
  for (bool first = true; connection.serve_request(handler, first); first = false) {
  }
}

}  // namespace cloister::http

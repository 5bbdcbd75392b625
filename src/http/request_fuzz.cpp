// Requests come from strangers. However the bytes are cut, the parser must say the same, and never more body
// than it was given.
#include <algorithm>
#include <cstdlib>

#include "http/request_parser.h"

namespace {

using namespace cloister;

constexpr size_t kMaxHead = 2048;

struct Outcome {
  unsigned bad = 0;
  std::string path, body;
  bool broken_body = false, done = false;
  bool operator==(const Outcome&) const = default;
};

// Feeds `step` more bytes at a time.
Outcome parse(ByteView data, size_t step) {
  Outcome out;
  http::RequestParser parser(kMaxHead);
  size_t used = 0, seen = std::min(step, data.size());
  const auto more = [&] {
    if (seen == data.size()) return false;
    seen = std::min(seen + step, data.size());
    return true;
  };
  for (;;) {
    used += parser.read_head(data.subspan(used, seen - used));
    if (parser.bad()) {
      out.bad = parser.bad()->status;
      return out;
    }
    if (parser.head_done()) break;
    if (!more()) return out;
  }
  out.path = parser.head().path;
  if (out.path.empty() || out.path.front() != '/') std::abort();
  ByteArray<97> room;
  while (!parser.body_done()) {
    const Result<http::RequestParser::BodyStep> got = parser.read_body(data.subspan(used, seen - used), room);
    if (!got.ok()) {
      out.broken_body = true;
      return out;
    }
    used += got->used;
    out.body.append(as_text(ByteView(room).first(got->written)));
    if (out.body.size() > data.size()) std::abort();
    if (got->used == 0 && got->written == 0 && !more()) return out;
  }
  out.done = true;
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input(data, size);
  const Outcome whole = parse(input, std::max<size_t>(size, 1));
  const Outcome bytes = parse(input, 1);
  // Byte by byte a fault may be seen later, and how large a head may be depends on how much of it came at
  // once. Where both come to a verdict it is the same.
  const auto decided = [](const Outcome& out) { return out.done || out.broken_body || out.bad != 0; };
  if (whole.bad == 431 || bytes.bad == 431 || !decided(whole) || !decided(bytes)) return 0;
  if (!(whole == bytes)) std::abort();
  return 0;
}

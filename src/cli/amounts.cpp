#include "cli/amounts.h"

#include <charconv>
#include <map>
#include <optional>

#include "attestation/tcb_json.h"

namespace cloister::cli {
namespace {

// A number and one of `units`; a number alone is one of the smallest unit.
Result<uint64_t> parse_amount(const std::string& text, std::string_view what,
                              const std::map<char, uint64_t>& units) {
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, value);
  uint64_t factor = 1;
  const auto unit = rest + 1 == end ? units.find(*rest) : units.end();
  if (unit != units.end()) factor = unit->second;
  uint64_t product = 0;
  if (failure != std::errc() || (rest != end && unit == units.end()) ||
      __builtin_mul_overflow(value, factor, &product) || product > INT64_MAX) {
    std::string names;
    for (const auto& [name, amount] : units) names.append(names.empty() ? "" : ", ").append(1, name);
    return Error(Code::InvalidArgument, std::string(what) + " " + text + " is not a number with a unit",
                 "units are " + names);
  }
  return product;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "Z", "z", "+02:00", "-00:30": seconds east of UTC.
std::optional<int64_t> parse_offset(std::string_view zone) {
  if (zone == "Z" || zone == "z") return 0;
  if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':') return std::nullopt;
  for (const size_t i : {1, 2, 4, 5}) {
    if (!is_digit(zone[i])) return std::nullopt;
  }
  const int hours = (zone[1] - '0') * 10 + (zone[2] - '0');
  const int minutes = (zone[4] - '0') * 10 + (zone[5] - '0');
  if (hours > 23 || minutes > 59) return std::nullopt;
  return (zone[0] == '+' ? 60 : -60) * (60 * hours + minutes);
}

}  // namespace

Result<uint64_t> parse_size(const std::string& text, std::string_view what) {
  std::string upper = text;
  if (!upper.empty() && upper.back() >= 'a' && upper.back() <= 'z')
    upper.back() = static_cast<char>(upper.back() - 'a' + 'A');
  return parse_amount(upper, what,
                      {{'K', 1ull << 10}, {'M', 1ull << 20}, {'G', 1ull << 30}, {'T', 1ull << 40}});
}

Result<uint64_t> parse_age(const std::string& text, std::string_view what) {
  return parse_amount(text, what, {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}});
}

Result<int64_t> parse_time(const std::string& text, std::string_view what) {
  const Error bad(Code::InvalidArgument, std::string(what) + " " + text + " is not a time",
                  "As RFC 3339 writes it: 2025-07-04T10:28:44Z or 2025-07-04T12:28:44+02:00");
  constexpr size_t kSeconds = std::string_view("2025-07-04T10:28:44").size();
  if (text.size() <= kSeconds) return bad;
  std::string utc = text.substr(0, kSeconds) + "Z";
  if (utc[10] == 't') utc[10] = 'T';
  size_t at = kSeconds;
  if (text[at] == '.') {
    const size_t end = text.find_first_not_of("0123456789", at + 1);
    if (end == std::string::npos || end == at + 1) return bad;
    at = end;
  }
  const std::optional<int64_t> offset = parse_offset(std::string_view(text).substr(at));
  const auto seconds = attestation::parse_rfc3339(utc);
  if (!offset || !seconds.ok()) return bad;
  return *seconds - *offset;
}

}  // namespace cloister::cli

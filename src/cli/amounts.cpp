#include "cli/amounts.h"

#include <charconv>
#include <map>

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

}  // namespace cloister::cli

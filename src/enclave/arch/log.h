// The kernel's log: short lines to the host at the level the launch record asks for. Never secrets, never
// data of the program. Format directives: %s (const char*), %S (std::string_view pointer), %d (int64), %u, %x
// (uint64), %%. All integer arguments are passed as 64 bits by the template.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

namespace cloister::enclave {

enum class LogLevel : uint8_t { Fatal = 0, Error = 2, Warning = 3, Info = 4, Debug = 5, Trace = 6 };

struct LogArgument {
  enum Kind : uint8_t { Signed, Unsigned, Text } kind;
  uint64_t number = 0;
  std::string_view text = {};
};
template <class T>
LogArgument log_argument(const T& value) {
  if constexpr (std::is_convertible_v<T, std::string_view>) {
    return {LogArgument::Text, 0, std::string_view(value)};
  } else if constexpr (std::is_enum_v<T>) {
    return {LogArgument::Signed, static_cast<uint64_t>(static_cast<int64_t>(value))};
  } else if constexpr (std::is_pointer_v<T>) {
    return {LogArgument::Unsigned, reinterpret_cast<uint64_t>(value)};
  } else if constexpr (std::is_signed_v<T>) {
    return {LogArgument::Signed, static_cast<uint64_t>(static_cast<int64_t>(value))};
  } else {
    return {LogArgument::Unsigned, static_cast<uint64_t>(value)};
  }
}

bool log_enabled(LogLevel level);
void log_line(LogLevel level, const char* format, const LogArgument* arguments, uint32_t count);

// "{}" is replaced by the next argument, "{x}" prints it in hex.
template <class... Arguments>
void log(LogLevel level, const char* format, const Arguments&... arguments) {
  if (!log_enabled(level)) return;
  const LogArgument list[] = {log_argument(arguments)..., LogArgument{LogArgument::Signed}};
  log_line(level, format, list, sizeof...(arguments));
}

// Ends the enclave at once with exit code kind (3 integrity, 4 attestation, 5 peer unavailable, 70 internal).
[[noreturn]] void end_enclave(int kind, std::string_view text);

}  // namespace cloister::enclave

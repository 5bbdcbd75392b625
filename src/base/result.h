// Result<T>: a value or an Error, for everything that can fail because of something outside our code.
//
// The one idea: a Result cannot be ignored ([[nodiscard]]) and cannot be misread (asking a failed one for its
// value aborts in every build). Our own bugs are CHECKs; the outside world's faults are Results. No
// exceptions: the same code runs in the enclave kernel, where errors are errno values (SysResult,
// enclave/sys_result.h).
//
// TRY(expr) yields the value or returns the error from the current function. Use it only as a whole
// initialiser, assignment, return value or call argument: inside braces and lambda captures GCC 12 skips
// destructors of already built members, so secrets there would not be wiped. tools/tidy.py refuses the rest.
#pragma once

#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace cloister {

// Who has to act? Each code has one answer.
enum class Code : uint8_t {
  InvalidArgument,  // the caller or the person at the keyboard
  NotFound,         // the thing named does not exist
  Denied,           // a policy or permission refuses
  Malformed,        // bytes from outside do not parse
  Integrity,    // bytes parse but are not what they must be: tampering, replay. Never retried or repaired.
  Unavailable,  // a peer or device is absent or too slow; retrying may help
  Unsupported,  // valid, but not something this build does
  Internal,     // our bug
};

std::string_view code_name(Code code);

// What failed and, where there is something to do about it, what to do.
class [[nodiscard]] Error {
 public:
  Error(Code code, std::string message, std::string hint = {})
      : code_(code), message_(std::move(message)), hint_(std::move(hint)) {}

  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }

  // The same error seen from one level up: "context: message".
  Error within(std::string_view context) && {
    message_.insert(0, ": ").insert(0, context);
    return std::move(*this);
  }

 private:
  Code code_;
  std::string message_;
  std::string hint_;
};

// Aborts with file and line. In the kernel it ends the enclave.
[[noreturn]] void panic(const char* file, int line, const char* what);

#define CLOISTER_CHECK(condition) \
  (static_cast<bool>(condition) ? static_cast<void>(0) : ::cloister::panic(__FILE__, __LINE__, #condition))

template <class T, class E>
class [[nodiscard]] BasicResult {
 public:
  using value_type = T;

  BasicResult(T value) : ok_(true) { new (&value_) T(std::move(value)); }   // NOLINT: implicit on purpose
  BasicResult(E error) : ok_(false) { new (&error_) E(std::move(error)); }  // NOLINT
  template <class U>
  requires(std::is_constructible_v<T, U&&>&& std::is_convertible_v<U&&, T> &&
           !std::is_same_v<std::remove_cvref_t<U>, T> && !std::is_same_v<std::remove_cvref_t<U>, E> &&
           !std::is_same_v<std::remove_cvref_t<U>, BasicResult>) BasicResult(U&& value)
      : ok_(true) {  // NOLINT
    new (&value_) T(std::forward<U>(value));
  }
  // Another part's error type that knows how to become ours.
  template <class F>
  requires(std::is_convertible_v<F&&, E> && !std::is_convertible_v<F&&, T> &&
           !std::is_same_v<std::remove_cvref_t<F>, E> && !std::is_same_v<std::remove_cvref_t<F>, BasicResult>)
      BasicResult(F&& error)
      : ok_(false) {  // NOLINT
    new (&error_) E(std::forward<F>(error));
  }
  BasicResult(BasicResult&& other) noexcept : ok_(other.ok_) {
    if (ok_) {
      new (&value_) T(std::move(other.value_));
    } else {
      new (&error_) E(std::move(other.error_));
    }
  }
  BasicResult& operator=(BasicResult&& other) noexcept {
    if (this != &other) {
      this->~BasicResult();
      new (this) BasicResult(std::move(other));
    }
    return *this;
  }
  ~BasicResult() {
    if (ok_) {
      value_.~T();
    } else {
      error_.~E();
    }
  }

  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }

  T& value() & { return check_value(), value_; }
  const T& value() const& { return check_value(), value_; }
  T&& value() && { return check_value(), std::move(value_); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  E& error() & { return check_error(), error_; }
  const E& error() const& { return check_error(), error_; }
  E&& error() && { return check_error(), std::move(error_); }

 private:
  void check_value() const { CLOISTER_CHECK(ok_); }
  void check_error() const { CLOISTER_CHECK(!ok_); }

  bool ok_;
  union {
    T value_;
    E error_;
  };
};

template <class E>
class [[nodiscard]] BasicResult<void, E> {
 public:
  using value_type = void;

  BasicResult() : ok_(true), none_() {}
  BasicResult(E error) : ok_(false) { new (&error_) E(std::move(error)); }  // NOLINT
  template <class F>
  requires(std::is_convertible_v<F&&, E> && !std::is_same_v<std::remove_cvref_t<F>, E> &&
           !std::is_same_v<std::remove_cvref_t<F>, BasicResult>) BasicResult(F&& error)
      : ok_(false) {  // NOLINT
    new (&error_) E(std::forward<F>(error));
  }
  BasicResult(BasicResult&& other) noexcept : ok_(other.ok_), none_() {
    if (!ok_) new (&error_) E(std::move(other.error_));
  }
  BasicResult& operator=(BasicResult&& other) noexcept {
    if (this != &other) {
      this->~BasicResult();
      new (this) BasicResult(std::move(other));
    }
    return *this;
  }
  ~BasicResult() {
    if (!ok_) error_.~E();
  }

  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  void value() const { CLOISTER_CHECK(ok_); }
  E& error() & { return check_error(), error_; }
  const E& error() const& { return check_error(), error_; }
  E&& error() && { return check_error(), std::move(error_); }

 private:
  void check_error() const { CLOISTER_CHECK(!ok_); }

  bool ok_;
  union {
    char none_;
    E error_;
  };
};

template <class T>
using Result = BasicResult<T, Error>;

#define CLOISTER_TRY_JOIN2(a, b) a##b
#define CLOISTER_TRY_JOIN(a, b) CLOISTER_TRY_JOIN2(a, b)
#define CLOISTER_TRY_AS(name, expression)                                                            \
  __extension__({                                                                                    \
    auto name = (expression);                       /* NOLINT(bugprone-macro-parentheses): a name */ \
    if (!name.ok()) return std::move(name).error(); /* NOLINT(bugprone-macro-parentheses) */         \
    std::move(name).value();                                                                         \
  })
// The counter gives each use its own name, so that one TRY may stand in the argument of another.
#define TRY(expression) CLOISTER_TRY_AS(CLOISTER_TRY_JOIN(try_result_, __COUNTER__), expression)

}  // namespace cloister

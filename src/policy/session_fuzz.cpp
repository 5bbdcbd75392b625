// Sessions come from strangers. Beside not crashing: what parses has one canonical form, which parses again
// to the same.
#include <cstdlib>

#include "policy/lint.h"
#include "policy/substitute.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<policy::Session> session = policy::parse_session(text);
  if (session.ok()) {
    const std::vector<policy::Finding> findings = policy::lint(*session);
    static_cast<void>(findings);
    // JSON is YAML; only values that are plain numbers become strings, which changes what they are, so the
    // form is compared where it parses.
    const Result<policy::Session> again = policy::parse_session(session->canonical);
    if (again.ok() && again->canonical != session->canonical) std::abort();
  }
  // A value is quoted, so it is never syntax: values that could be do no more than one that cannot.
  const Result<std::string> plain = policy::substitute(text, {{"A", "x"}, {"B", "x"}});
  const Result<std::string> filled = policy::substitute(text, {{"A", "x: \"y\n"}, {"B", "- #"}});
  if (plain.ok() != filled.ok()) std::abort();
  if (plain.ok() && policy::parse_yaml(*plain).ok() && filled->size() < policy::kMaxYamlSize &&
      !policy::parse_yaml(*filled).ok())
    std::abort();
  return 0;
}

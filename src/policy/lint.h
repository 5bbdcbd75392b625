// What weakens a session although it is valid: `cloister session lint`.
#pragma once

#include "policy/session.h"

namespace cloister::policy {

struct Finding {
  std::string rule;  // "debug-mode", "wildcard-advisories"…
  Mark mark;
  std::string text;  // why it matters and what to do
};

// Tolerations, then services and volumes one after the other, then access. Empty: nothing to say.
std::vector<Finding> lint(const Session& session);

}  // namespace cloister::policy

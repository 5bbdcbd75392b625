// What the tests of check() share: denials of a session against a verdict, their rules, and the variants that
// they suggest.
#pragma once

#include <gtest/gtest.h>

#include "policy/check.h"

namespace cloister::policy {

// Of a session whose only service has these variants.
inline std::string session_text(const std::string& variants, const std::string& tolerate = "") {
  return "name: s\nversion: \"0.3\"\nservices:\n  - {name: app, command: x, attestation: [" + variants +
         "]}\nsecurity: {attestation: {tolerate: [" + tolerate + "]}}\n";
}
inline Session parsed(const std::string& text) {
  Result<Session> session = parse_session(text);
  EXPECT_TRUE(session.ok()) << session.error().message() << "\n" << text;
  return std::move(session).value();
}
inline std::vector<Denial> denials_of(const std::string& text, const attestation::Verdict& verdict) {
  const Session session = parsed(text);
  return check(session, session.services[0], verdict);
}
// Their rules, separated by spaces.
inline std::string rules_of(const std::vector<Denial>& denials) {
  std::string out;
  for (const Denial& denial : denials) out += (out.empty() ? "" : " ") + denial.rule;
  return out;
}
// The list of variants in a suggestion for the service.
inline std::string suggested(const Denial& denial) {
  const std::string begin = "services: [{name: app, attestation: [";
  EXPECT_TRUE(denial.suggestion.starts_with(begin) && denial.suggestion.ends_with("]}]"))
      << denial.suggestion;
  return denial.suggestion.substr(begin.size(), denial.suggestion.size() - begin.size() - 3);
}

}  // namespace cloister::policy

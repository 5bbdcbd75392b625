// One text for all ways to write a session, so that its hash depends on what it says and not on quotes, order
// of keys or comments. docs/formats/session.md has the rules and a test vector; any YAML and JSON library can
// compute it.
#pragma once

#include "policy/yaml.h"

namespace cloister::policy {

// JSON without white space. A mapping: keys in the order of their bytes. A scalar: a string with its content,
// whatever its type; a plain null: null. Strings escape only `"`, `\` and control characters (\u00xx).
std::string canonical_form(const Node& tree);

}  // namespace cloister::policy

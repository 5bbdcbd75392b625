// $VAR and ${VAR} in the values of a session template, as the command line tools fill them in.
#pragma once

#include <map>
#include <string>

#include "base/result.h"

namespace cloister::policy {

using Variables = std::map<std::string, std::string, std::less<>>;

// The template with every variable in every value replaced; all else stays byte for byte. A value that had
// variables becomes a double-quoted string, so what a variable holds can never be taken for syntax or a
// number; the one exception is a value that becomes exactly `~`, which means "nothing" and stays so. `$$…$$`
// and keys are left alone.
// InvalidArgument: "name: Value for variable $SESSION is missing at line 3 column 7". Malformed: not YAML.
Result<std::string> substitute(std::string_view text, const Variables& variables);

}  // namespace cloister::policy

// The session template that `cloister build --template` writes: the tutorial's, for one measured program.
#pragma once

#include <string>

namespace cloister::cli {

// For an image called `name`, whose program is at `entry`. $VARIABLES are left for encryptedpush to fill in.
std::string session_template(const std::string& name, const std::string& entry, const std::string& mrenclave);

}  // namespace cloister::cli

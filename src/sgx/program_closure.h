// What a program needs beside itself to start: its interpreter (or that of its `#!` line) and, transitively,
// its libraries, found as the dynamic loader of this machine would find them and put where the same loader
// will find them inside the image. Nothing is run to find out.
#pragma once

#include <filesystem>
#include <string>

#include "sgx/root_plan.h"

namespace cloister::sgx {

// Adds the program `host` to the plan and everything it needs. `inside` is its path in the image; empty: its
// own path when that is absolute (with the links on the way), else "/NAME". Returns the path inside.
// NotFound: the program, its interpreter or a library is not on this machine (named). Malformed: not a
// program. Unsupported: for another machine.
Result<std::string> add_program(RootPlan& plan, const std::filesystem::path& host, const std::string& inside);

}  // namespace cloister::sgx

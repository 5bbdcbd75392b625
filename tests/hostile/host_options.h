// How the hosts of these tests start an enclave.
#pragma once

#include <cstdlib>

#include "host/runner.h"

namespace cloister::host {

// `image`: the command line from the image on, a null pointer behind the program's arguments.
inline RunOptions options_of(char** image) {
  RunOptions options;
  options.image = *image;
  while (*++image != nullptr) options.args.emplace_back(*image);
  if (const char* state = std::getenv("CLOISTER_SIM_STATE"); state != nullptr) options.sim_state = state;
  return options;
}

}  // namespace cloister::host

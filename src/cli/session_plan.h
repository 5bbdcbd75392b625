// A session template seen by encryptedpush: filled in, parsed, and which of its volumes is the input and
// which the output. The roles follow from the variables: the input volume is the one whose key is
// $INPUT_FSPF_KEY, the output volume the one whose key is $OUTPUT_FSPF_KEY.
#pragma once

#include <string>
#include <vector>

#include "policy/substitute.h"
#include "volume/volume.h"

namespace cloister::cli {

struct PlannedVolume {
  std::string name;
  std::string path;  // absolute: where the service mounts it
};

struct SessionPlan {
  std::string session;  // its name
  std::string service;  // the one that mounts both volumes
  PlannedVolume input, output;
  std::vector<std::string> other_paths;  // volumes that the service makes at the first run
};

struct SessionValues {
  std::string number, url;
  volume::Key input_key, output_key;
  volume::Tag input_tag{}, output_tag{};
};

// The template with every variable filled in. The text holds keys: wipe it.
Result<std::string> fill_template(const std::string& text, const SessionValues& values);

// Reads a filled-in template. InvalidArgument when it lacks one of the two volumes; errors of policy.
Result<SessionPlan> plan_session(const std::string& filled, const SessionValues& values);

}  // namespace cloister::cli

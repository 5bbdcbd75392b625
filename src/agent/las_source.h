// Evidence from a local attestation service (src/las) at a numeric "ip:port".
#pragma once

#include "agent/agent.h"

namespace cloister::agent {

// Unavailable: "Unable to connect to LAS at ADDRESS: reason".
Result<std::unique_ptr<EvidenceSource>> open_las_source(const std::string& address);

}  // namespace cloister::agent

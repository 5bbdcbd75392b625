// Asks Intel's provisioning certification service, or a caching service (PCCS) with the same interface, for
// one artefact. API version 4: paths, parameters and the headers that carry issuer chains.
#pragma once

#include "collateral/artefact.h"
#include "http/client.h"

namespace cloister::collateral {

struct PcsOptions {
  std::string base_url;      // "https://api.trustedservices.intel.com" or a PCCS; from the owner only
  std::string root_crl_url;  // empty: BASE/sgx/certification/v4/rootcacrl, which a PCCS has and Intel has not
  http::ClientOptions http;
};

// Unverified. Unavailable: no connection or a status of 408, 429 or 5xx; NotFound: 404; Malformed: an answer
// without the header or body that it must have.
Result<RawArtefact> fetch_artefact(const ArtefactKey& key, const PcsOptions& options);

}  // namespace cloister::collateral

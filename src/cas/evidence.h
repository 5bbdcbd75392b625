// The service's own evidence: a quote over its TLS key, when it runs inside an enclave.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "attestation/binding.h"
#include "base/result.h"

namespace cloister::cas {

struct ServiceEvidence {
  Bytes quote;
  std::string collateral;  // as the LAS attached it, JSON; may be empty
};

// Thread-safe. Unavailable: the LAS; other errors as LasClient.
using EvidenceSource = std::function<Result<ServiceEvidence>(const attestation::ReportData&)>;

// Where the kernel of a standalone image lets its program ask for reports.
inline constexpr const char* kAttestationFolder = "/dev/attestation";

// Reports by the files of `folder`, quotes by the LAS at `las` (numeric "ip:port"). An empty function when
// there is no such folder: this is no enclave.
EvidenceSource enclave_evidence(const std::string& las,
                                const std::filesystem::path& folder = kAttestationFolder);

}  // namespace cloister::cas

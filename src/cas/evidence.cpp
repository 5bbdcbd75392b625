#include "cas/evidence.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>

#include "attestation/las_client.h"
#include "base/descriptor.h"

namespace cloister::cas {
namespace {

namespace fs = std::filesystem;

Error failed(std::string_view what, const fs::path& path) {
  return Error(Code::Internal, std::string(what) + " " + path.string() + ": " + ::strerror(errno));
}

// The kernel's files take and give a value in one call.
Result<void> put(const fs::path& path, ByteView value) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid() || ::write(file.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size()))
    return failed("cannot write", path);
  return {};
}

Result<void> get(const fs::path& path, MutableByteView value) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid() || ::read(file.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size()))
    return failed("cannot read", path);
  return {};
}

class EnclaveEvidence {
 public:
  EnclaveEvidence(std::string las, fs::path folder) : las_(std::move(las)), folder_(std::move(folder)) {}

  Result<ServiceEvidence> evidence(const attestation::ReportData& data) {
    attestation::LasClientOptions options;
    options.address = las_;
    attestation::LasClient client = TRY(attestation::LasClient::connect(options));
    const ByteArray<432> report = TRY(report_for(client.target_info(), data));
    attestation::LasQuote quote = TRY(client.quote(report));
    return ServiceEvidence{std::move(quote.quote), std::string(as_text(quote.collateral))};
  }

 private:
  Result<ByteArray<432>> report_for(const ByteArray<512>& target, const attestation::ReportData& data) {
    const std::lock_guard lock(mutex_);
    TRY(put(folder_ / "target_info", target));
    TRY(put(folder_ / "user_report_data", data));
    ByteArray<432> report;
    TRY(get(folder_ / "report", report));
    return report;
  }

  const std::string las_;
  const fs::path folder_;
  std::mutex mutex_;  // the files are one set for all threads
};

}  // namespace

EvidenceSource enclave_evidence(const std::string& las, const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder / "report", error)) return {};
  auto source = std::make_shared<EnclaveEvidence>(las, folder);
  return [source](const attestation::ReportData& data) { return source->evidence(data); };
}

}  // namespace cloister::cas

#include "agent/las_source.h"

#include "attestation/las_client.h"

namespace cloister::agent {
namespace {

class LasSource final : public EvidenceSource {
 public:
  explicit LasSource(attestation::LasClient client) : client_(std::move(client)) {}

  Result<TargetInfo> target_info() override { return client_.target_info(); }
  Result<Evidence> quote(const Report& report) override {
    attestation::LasQuote quote = TRY(client_.quote(report));
    Evidence evidence;
    evidence.quote = std::move(quote.quote);
    evidence.collateral = std::move(quote.collateral);
    return evidence;
  }

 private:
  attestation::LasClient client_;
};

}  // namespace

Result<std::unique_ptr<EvidenceSource>> open_las_source(const std::string& address) {
  attestation::LasClientOptions options;
  options.address = address;
  attestation::LasClient client = TRY(attestation::LasClient::connect(options));
  return std::unique_ptr<EvidenceSource>(std::make_unique<LasSource>(std::move(client)));
}

}  // namespace cloister::agent

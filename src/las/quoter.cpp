#include "las/quoter.h"

namespace cloister::las {
namespace {

std::string describe(const attestation::SimSettings& settings) {
  std::string out = "simulated platform, TCB status ";
  out += attestation::tcb_status_name(settings.tcb_status);
  for (const std::string& id : settings.advisory_ids) out.append(" ").append(id);
  if (settings.revoke_pck) out += ", PCK revoked";
  if (settings.debug_qe) out += ", quoting enclave in debug mode";
  if (settings.expired_collateral) out += ", collateral expired";
  return out.substr(0, attestation::kMaxLasText);
}

class SimulatedQuoter final : public Quoter {
 public:
  explicit SimulatedQuoter(attestation::SimPki pki) : pki_(std::move(pki)) {}

  attestation::LasMode mode() const override { return attestation::LasMode::Simulation; }
  std::string describe() const override { return las::describe(pki_.settings()); }
  Result<sgx::TargetInfo> target_info() const override { return pki_.target_info(); }
  Result<Bytes> quote(const sgx::Report& report) const override { return pki_.quote(report); }
  Result<Bytes> collateral(int64_t now) const override {
    const attestation::CollateralBundle bundle = TRY(pki_.collateral(now));
    const std::string text = attestation::collateral_bundle_json(bundle);
    return Bytes(text.begin(), text.end());
  }

 private:
  const attestation::SimPki pki_;
};

}  // namespace

std::unique_ptr<Quoter> simulated_quoter(attestation::SimPki pki) {
  return std::make_unique<SimulatedQuoter>(std::move(pki));
}

}  // namespace cloister::las

#include "policy/check_sgx.h"

#include <algorithm>
#include <tuple>

#include "policy/denials.h"

namespace cloister::policy {
namespace {

using attestation::Verdict;

bool measurement_listed(const AttestationVariant& variant, const Verdict& verdict) {
  return holds(variant.mrenclaves, verdict.mrenclave);
}

// How many of the signer's parts do not hold.
int signer_faults(const SignerFactor& signer, const Verdict& verdict) {
  int faults = 0;
  if (signer.mrsigner && *signer.mrsigner != verdict.mrsigner) ++faults;
  if (signer.isv_prod_id && *signer.isv_prod_id != verdict.isv_prod_id) ++faults;
  if (signer.isv_svn && *signer.isv_svn != verdict.isv_svn) ++faults;
  if (signer.isv_svn_min && verdict.isv_svn < *signer.isv_svn_min) ++faults;
  if (signer.isv_svn_max && verdict.isv_svn > *signer.isv_svn_max) ++faults;
  return faults;
}

int signer_faults(const AttestationVariant& variant, const Verdict& verdict) {
  return variant.signer ? signer_faults(*variant.signer, verdict) : 0;
}

std::string described(const SignerFactor& signer) {
  std::string out;
  if (signer.mrsigner) out += "mrsigner " + to_hex(*signer.mrsigner);
  if (signer.isv_prod_id) out += ", isvprodid " + std::to_string(*signer.isv_prod_id);
  if (signer.isv_svn) out += ", isvsvn " + std::to_string(*signer.isv_svn);
  if (signer.isv_svn_min) out += ", isvsvn_min " + std::to_string(*signer.isv_svn_min);
  if (signer.isv_svn_max) out += ", isvsvn_max " + std::to_string(*signer.isv_svn_max);
  return out;
}

// The parts that `signer` has, so far away from its own values as this enclave needs.
std::string mended(const SignerFactor& signer, const Verdict& verdict) {
  const uint16_t svn = verdict.isv_svn;
  std::string out = "signer: {mrsigner: " + to_hex(verdict.mrsigner) +
                    ", isvprodid: " + std::to_string(verdict.isv_prod_id);
  if (signer.isv_svn) out += ", isvsvn: " + std::to_string(svn);
  if (signer.isv_svn_min) out += ", isvsvn_min: " + std::to_string(std::min(*signer.isv_svn_min, svn));
  if (signer.isv_svn_max) out += ", isvsvn_max: " + std::to_string(std::max(*signer.isv_svn_max, svn));
  return out + "}";
}

// The factors that `variant` has, with what this enclave needs of each.
std::string variant_for(const Service& service, const AttestationVariant* variant, const Verdict& verdict) {
  const std::string got = "[" + to_hex(verdict.mrenclave) + "]";
  if (service.by_mrenclaves) return in_service(service, "mrenclaves: " + got);
  std::string factors;
  if (variant == nullptr || !variant->mrenclaves.empty()) factors = "mrenclave: " + got;
  if (variant != nullptr && variant->signer)
    factors += (factors.empty() ? "" : ", ") + mended(*variant->signer, verdict);
  return with_variant(service, factors);
}

// One of the right measurement before others, then the one whose signer is nearest, then one that names it.
const AttestationVariant* nearest(const Service& service, const Verdict& verdict) {
  const auto distance = [&](const AttestationVariant& variant) {
    return std::tuple(!measurement_listed(variant, verdict), signer_faults(variant, verdict),
                      !variant.signer.has_value());
  };
  const AttestationVariant* best = nullptr;
  for (const AttestationVariant& variant : service.attestation) {
    if (variant.of_machine()) continue;
    if (best == nullptr || distance(variant) < distance(*best)) best = &variant;
  }
  return best;
}

// What the variants that have this measurement, or else those nearest to it, say of the signer.
Denial wrong_signer(const Service& service, const AttestationVariant& near, const Verdict& verdict,
                    bool measured) {
  std::string signers;
  for (const AttestationVariant& variant : service.attestation) {
    const bool judged =
        measured ? !variant.of_machine() && measurement_listed(variant, verdict) : &variant == &near;
    if (judged && variant.signer) signers += (signers.empty() ? "" : " or ") + described(*variant.signer);
  }
  return {"signer", std::move(signers),
          "mrsigner " + to_hex(verdict.mrsigner) + ", isvprodid " + std::to_string(verdict.isv_prod_id) +
              ", isvsvn " + std::to_string(verdict.isv_svn),
          variant_for(service, &near, verdict)};
}

}  // namespace

std::vector<Denial> check_sgx(const Service& service, const Verdict& verdict) {
  if (verdict.tee != attestation::Tee::Sgx)
    return {{"tee", "an enclave, or an SEV-SNP or TDX machine", "another kind of TEE", ""}};
  const AttestationVariant* near = nearest(service, verdict);
  const bool measured = near != nullptr && measurement_listed(*near, verdict);
  const bool signed_right = near == nullptr || signer_faults(*near, verdict) == 0;
  std::vector<Denial> out;
  if (!measured) {
    Listed measurements;
    for (const AttestationVariant& variant : service.attestation) measurements.add(variant.mrenclaves);
    // One suggestion for both, at the last: an owner who takes it takes them together.
    out.push_back({"mrenclave", measurements.text("a virtual machine, no enclave"), to_hex(verdict.mrenclave),
                   signed_right ? variant_for(service, near, verdict) : ""});
  }
  if (!signed_right) out.push_back(wrong_signer(service, *near, verdict, measured));
  return out;
}

}  // namespace cloister::policy

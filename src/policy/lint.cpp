#include "policy/lint.h"

#include <algorithm>

#include "policy/check_tdx.h"

namespace cloister::policy {
namespace {

struct TolerationAdvice {
  Toleration toleration;
  std::string_view text;
};
constexpr TolerationAdvice kAdvice[] = {
    {Toleration::DebugMode,
     "debug enclaves can be read with a debugger: every secret of this session is open to the machine's "
     "owner"},
    {Toleration::SimulationMode,
     "simulated enclaves protect nothing from the machine's owner: leave this out in production"},
    {Toleration::OutdatedTcb,
     "machines without current microcode are accepted: their advisories may let keys be extracted"},
    {Toleration::InsecureConfiguration,
     "machines with an insecure firmware configuration are accepted; virtual ones also when another machine "
     "may take them over, and TDX ones when their host may cause exceptions in them (SEPT_VE_DISABLE off) or "
     "attributes of unknown meaning are set"},
};

void add_if(std::vector<Finding>& out, bool condition, std::string_view rule, const Mark& mark,
            std::string text) {
  if (condition) out.push_back({std::string(rule), mark, std::move(text)});
}

bool allows_any(const std::vector<AccessEntry>& list) {
  return std::any_of(list.begin(), list.end(),
                     [](const AccessEntry& entry) { return entry.kind == AccessEntry::Kind::Any; });
}

void lint_tdx(const TdxFactor& factor, const Service& service, std::vector<Finding>& out) {
  add_if(
      out, factor.registers[kTdxRtmr1].empty() || factor.registers[kTdxRtmr2].empty(), "firmware-only",
      service.mark,
      "service `" + service.name +
          "`: MRTD measures the firmware, and whatever it boots is accepted; list `rtmr1` and `rtmr2` too");
  if (!factor.td_attributes) return;
  using namespace td_attributes;
  const uint64_t wanted = *factor.td_attributes;
  std::string weak;
  const auto name = [&](bool condition, std::string_view what) {
    if (condition) weak.append(weak.empty() ? "" : ", ").append(what);
  };
  name((wanted & kDebug) != 0, "of debugging (bits 0 to 7)");
  name((wanted & kNoExceptionsByHost) == 0,
       "without SEPT_VE_DISABLE (bit 28), so its host may cause exceptions");
  name((wanted & ~kKnown) != 0, "of unknown meaning");
  add_if(out, !weak.empty(), "td-attributes", service.mark,
         "service `" + service.name + "`: `td_attributes` wants a machine with attributes " + weak);
}

void lint_services(const Session& session, std::vector<Finding>& out) {
  for (const Service& service : session.services) {
    for (const AttestationVariant& variant : service.attestation) {
      add_if(out, variant.mrenclaves.empty() && !variant.of_machine(), "signer-only", service.mark,
             "service `" + service.name +
                 "`: anything that this signer ever signs under the product id is accepted; list `mrenclave` "
                 "too");
      if (variant.tdx) lint_tdx(*variant.tdx, service, out);
    }
    add_if(out, !service.image_name.empty() && session.find_image(service.image_name) == nullptr,
           "image-without-entry", service.mark,
           "service `" + service.name + "`: image `" + service.image_name +
               "` has no entry in `images`, so it gets no volumes and no files");
    add_if(out,
           session.security.tolerates(Toleration::SimulationMode) &&
               service.environment_value("SCONE_MODE") == "hw",
           "contradiction", service.mark,
           "service `" + service.name + "`: SCONE_MODE: hw refuses what simulation-mode tolerates");
  }
}

void lint_volumes(const Session& session, std::vector<Finding>& out) {
  for (const Volume& volume : session.volumes) {
    bool used = false;
    bool unprotected = volume.update_policy == UpdatePolicy::NoRollbackProtection;
    for (const Image& image : session.images) {
      for (const ImageVolume& mount : image.volumes) {
        if (mount.name != volume.name) continue;
        used = true;
        unprotected = unprotected || mount.update_policy == UpdatePolicy::NoRollbackProtection;
      }
    }
    add_if(out, unprotected, "no-rollback-protection", volume.mark,
           "volume `" + volume.name + "`: whoever holds the disk can go back to any earlier state of it");
    add_if(out, !used, "unused-volume", volume.mark, "volume `" + volume.name + "` is in no image");
  }
}

}  // namespace

std::vector<Finding> lint(const Session& session) {
  std::vector<Finding> out;
  for (const TolerationAdvice& advice : kAdvice) {
    add_if(out, session.security.tolerates(advice.toleration), toleration_name(advice.toleration),
           session.mark, std::string(advice.text));
  }
  for (const auto& [name, mark] : session.security.without_effect) {
    out.push_back({"without-effect", mark,
                   "`" + name + "` has no effect here: evidence of that kind is not accepted; leave it out"});
  }
  add_if(
      out, session.security.ignore_all_advisories, "wildcard-advisories",
      session.security.ignore_all_mark.value_or(session.mark),
      "`ignore_advisories: \"*\"` also covers every advisory of the future: list the ones you have judged");
  lint_services(session, out);
  lint_volumes(session, out);
  add_if(out, allows_any(session.access.read), "readable-by-any", session.mark,
         "anybody can read this session, with the keys that stand in it");
  add_if(out, allows_any(session.access.update), "changeable-by-any", session.mark,
         "anybody can replace this session, and so receive what its volumes hold");
  add_if(out, session.services.empty(), "no-services", session.mark, "no enclave can use this session");
  return out;
}

}  // namespace cloister::policy

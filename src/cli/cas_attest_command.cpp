// `cloister cas attest`: verify which enclave a CAS is, then pin its key. Ends with 0 trusted, 4 refused, 3
// put back to an earlier state, 5 unreachable, 2 for what was typed and the files it names.
#include "cli/cas_attest_command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "cas/attest.h"
#include "cas/trust.h"
#include "cli/commands.h"

namespace cloister::cli {
namespace {

// What accepts something of a CAS's platform, and what in a session would do the same.
struct Accepting {
  std::string_view option;
  std::string spellings;  // all of them
  std::string help;
  std::initializer_list<policy::Toleration> tolerations;
};
const Accepting kAccepting[] = {
    {"--accept-configuration-needed",
     "-C,--accept-configuration-needed",
     "Accept a platform whose configuration is insecure, or with hyperthreading",
     {policy::Toleration::InsecureConfiguration, policy::Toleration::Hyperthreading}},
    {"--accept-group-out-of-date",
     "-G,--accept-group-out-of-date",
     "Accept an outdated platform",
     {policy::Toleration::OutdatedTcb}},
    {"--accept-sw-hardening-needed",
     "-S,--accept-sw-hardening-needed",
     "Accept a platform whose weakness the enclave's software must handle",
     {policy::Toleration::SoftwareHardeningNeeded}},
    {"--only-for-testing-debug",
     "--only-for-testing-debug,--only_for_testing-debug",
     "Accept an enclave whose memory can be read",
     {policy::Toleration::DebugMode}},
};

struct Arguments {
  std::string address, mrenclave, mrsigner;
  std::vector<std::string> mrenclaves, simulation_roots, collateral, ignored;
  std::optional<uint16_t> prod_id, svn;
  bool accepted[std::size(kAccepting)] = {};
  bool any = false, any_signer = false;
  // Any enclave at all.
  bool trusts_any() const { return any || (any_signer && mrenclave.empty() && mrenclaves.empty()); }
};

Result<policy::AttestationVariant> wanted(const Arguments& a) {
  policy::AttestationVariant out;
  std::vector<std::string> mrenclaves = a.mrenclaves;
  if (!a.mrenclave.empty()) mrenclaves.push_back(a.mrenclave);
  for (const std::string& text : mrenclaves) {
    const Result<ByteArray<32>> hash = array_from_hex<32>(text);
    if (!hash.ok()) return Error(Code::InvalidArgument, "a MRENCLAVE is 64 hex digits");
    out.mrenclaves.push_back(*hash);
  }
  const bool signer = !a.mrsigner.empty() || a.prod_id || a.svn;
  if (signer && (a.mrsigner.empty() || !a.prod_id || !a.svn)) {
    return Error(Code::InvalidArgument, "--mrsigner, --isvprodid and --isvsvn go together");
  }
  if (signer) {
    const Result<ByteArray<32>> hash = array_from_hex<32>(a.mrsigner);
    if (!hash.ok()) return Error(Code::InvalidArgument, "--mrsigner is 64 hex digits");
    policy::SignerFactor factor;
    factor.mrsigner = *hash;
    factor.isv_prod_id = a.prod_id;
    factor.isv_svn_min = a.svn;
    out.signer = factor;
  }
  const bool nothing = out.mrenclaves.empty() && !signer;
  if (nothing && !a.trusts_any()) {
    return Error(Code::InvalidArgument,
                 "say which enclave you expect: --mrenclave, or --mrsigner with its numbers",
                 "cloister hash cas.enclave prints the MRENCLAVE of an image that you built or checked");
  }
  if (!nothing && a.any)
    return Error(Code::InvalidArgument,
                 "--only-for-testing-trust-any contradicts --mrenclave and --mrsigner");
  if (signer && a.any_signer)
    return Error(Code::InvalidArgument, "--only-for-testing-ignore-signer contradicts --mrsigner");
  return out;
}

Result<cas::AttestOptions> options_of(const Arguments& a) {
  cas::AttestOptions options;
  options.wanted = TRY(wanted(a));
  options.hint = accepting_hint;
  std::vector<policy::Toleration>& tolerate = options.security.tolerate;
  for (size_t i = 0; i < std::size(kAccepting); ++i) {
    if (a.accepted[i])
      tolerate.insert(tolerate.end(), kAccepting[i].tolerations.begin(), kAccepting[i].tolerations.end());
  }
  if (!a.simulation_roots.empty()) tolerate.push_back(policy::Toleration::SimulationMode);
  for (const std::string& advisory : a.ignored) {
    if (!policy::is_advisory(advisory))
      return Error(Code::InvalidArgument,
                   "--ignore-advisory: `" + advisory.substr(0, 64) + "` is no advisory",
                   "one is written INTEL-SA-00161");
    options.security.ignore_advisories.push_back(advisory);
  }
  for (const std::string& path : a.simulation_roots)
    TRY(attestation::add_simulation_root(path, options.evidence.anchors));
  for (const std::string& path : a.collateral)
    options.evidence.collateral.push_back(TRY(attestation::load_collateral(path, options.evidence.anchors)));
  return options;
}

Result<void> attest(const Arguments& a, cas::AttestOptions options) {
  Result<cas::KnownCas> known = cas::known_cas(a.address);
  if (!known.ok() && known.error().code() != Code::NotFound) return Error(known.error());
  if (known.ok()) options.known = *known;
  const cas::AttestedCas cas = TRY(cas::attest_cas(a.address, options));
  const std::string full = TRY(cas::full_address(a.address));
  TRY(cas::trust(full, cas.key, cas.journal));
  if (options.known && options.known->key != cas.key)
    std::fputs("cloister: warning: another key than before: this CAS has no history of the old one\n",
               stderr);
  if (a.trusts_any())
    std::fputs("cloister: warning: any enclave was accepted, so this proves nothing\n", stderr);
  if (cas.verdict.simulated)
    std::fputs("cloister: warning: the CAS's platform is simulated: it protects nothing from its owner\n",
               stderr);
  std::printf(
      "CAS %s at https://%s/ is trustworthy\nVersion of attested CAS: %s\nMRENCLAVE  %s\nCAS key hash: %s\n",
      full.c_str(), full.c_str(), cas.version.c_str(), to_hex(cas.verdict.mrenclave).c_str(),
      to_hex(cas.key).c_str());
  return {};
}

int run(const Arguments& a) {
  const Result<cas::AttestOptions> options = options_of(a);
  if (options.ok()) return finished(attest(a, *options));
  report(options.error());
  return kUsage;
}

void add_tolerances(CLI::App& sub, const std::shared_ptr<Arguments>& a) {
  for (size_t i = 0; i < std::size(kAccepting); ++i)
    sub.add_flag(kAccepting[i].spellings, a->accepted[i], kAccepting[i].help);
  sub.add_option("--ignore-advisory", a->ignored, "Accept a platform with this open advisory (repeatable)")
      ->allow_extra_args(false);
  sub.add_flag("--only-for-testing-trust-any,--only_for_testing-trust-any", a->any, "Accept any enclave");
  sub.add_flag("--only-for-testing-ignore-signer,--only_for_testing-ignore-signer", a->any_signer,
               "Accept an enclave of any signer; without MRENCLAVE any enclave");
}

// The options that accept what `denial` is about; empty: nothing does.
std::vector<std::string> accepting(const policy::Denial& denial) {
  std::vector<std::string> out;
  for (const std::string& advisory : denial.advisories) out.push_back("--ignore-advisory " + advisory);
  for (const policy::Toleration toleration : denial.tolerations) {
    const auto option = std::find_if(std::begin(kAccepting), std::end(kAccepting), [&](const Accepting& one) {
      return std::find(one.tolerations.begin(), one.tolerations.end(), toleration) != one.tolerations.end();
    });
    if (option == std::end(kAccepting)) return {};
    out.emplace_back(option->option);
  }
  return out;
}

}  // namespace

std::string accepting_hint(const std::vector<policy::Denial>& denials) {
  std::vector<std::string> all;
  for (const policy::Denial& denial : denials) {
    const std::vector<std::string> options = accepting(denial);
    if (options.empty()) return {};
    for (const std::string& option : options) {
      if (std::find(all.begin(), all.end(), option) == all.end()) all.push_back(option);
    }
  }
  std::string out = "if you have judged that, it is accepted with:";
  for (const std::string& option : all) out += " " + option;
  return out;
}

void add_cas_attest_command(CLI::App& group, Action& action) {
  auto* sub = group.add_subcommand("attest", "Verify which enclave a CAS is, and pin its key");
  sub->footer(
      "Example: cloister cas attest cas.example --mrenclave $(cloister hash cas.enclave)\n"
      "Exit codes: 0 trustworthy and pinned, 4 refused, 3 put back to an earlier state, 5 unreachable, 2 "
      "usage "
      "or unusable file.");
  const auto a = std::make_shared<Arguments>();
  sub->add_option("ADDRESS", a->address, "HOST or HOST:PORT (port 8081)")->required();
  sub->add_option("MRENCLAVE", a->mrenclave, "The measurement to expect, as with --mrenclave");
  sub->add_option("--mrenclave", a->mrenclaves, "The measurement to expect (repeatable: any of them)")
      ->allow_extra_args(false);
  sub->add_option("--mrsigner", a->mrsigner, "The signer to expect, with --isvprodid and --isvsvn");
  sub->add_option("--isvprodid", a->prod_id, "The product of that signer");
  sub->add_option("--isvsvn", a->svn, "Its lowest security version");
  sub->add_option("--trust-simulation", a->simulation_roots,
                  "Root certificate of a simulated platform to accept")
      ->allow_extra_args(false);
  sub->add_option("--collateral", a->collateral, "Collateral for quotes of real platforms")
      ->allow_extra_args(false);
  add_tolerances(*sub, a);
  sub->callback([a, &action] { action = [a] { return run(*a); }; });
}

}  // namespace cloister::cli

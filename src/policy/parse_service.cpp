// services[]: what is started, and which enclaves may be it.
#include <algorithm>
#include <array>

#include "policy/parse_parts.h"
#include "policy/placeholders.h"

namespace cloister::policy {
namespace {

constexpr size_t kMaxMeasurements = 4096;
constexpr size_t kMaxVariables = 4096;  // what a started program can be given (boundary/config.h)
constexpr std::string_view kRootProtection =
    "the root file system is part of the image and of MRENCLAVE here; a protection file for it is not "
    "supported";

constexpr std::string_view kTdAttributes = "td_attributes";
constexpr std::string_view kOfSnp[] = {"measurement",   "minimum_tcb",       "vmpl",     "guest_policy",
                                       "id_key_digest", "author_key_digest", "host_data"};
constexpr auto kFactors = [] {
  constexpr std::string_view kOthers[] = {"mrenclave", "signer", kTdAttributes};
  std::array<std::string_view, std::size(kOthers) + std::size(kOfSnp) + kTdxRegisterCount> out;
  auto* end = std::copy_n(kOthers, std::size(kOthers), out.data());
  end = std::copy_n(kOfSnp, std::size(kOfSnp), end);
  std::copy(kTdxRegisters.begin(), kTdxRegisters.end(), end);
  return out;
}();

template <size_t N>
Result<std::vector<ByteArray<N>>> read_measurements(const Place& place) {
  std::vector<ByteArray<N>> out;
  if (place.node().is_scalar()) {
    out.push_back(TRY(place.hex<N>()));
    return out;
  }
  const size_t count = TRY(place.sequence_size(kMaxMeasurements));
  if (count == 0) return place.malformed("an empty list allows no enclave");
  for (size_t i = 0; i < count; ++i) {
    const Place item = place.element(i);
    out.push_back(TRY(item.hex<N>()));
  }
  return out;
}

Result<std::optional<uint16_t>> read_u16(const Fields& fields, std::string_view key) {
  const std::optional<Place> place = fields.find(key);
  if (!place) return std::optional<uint16_t>();
  return std::optional<uint16_t>(static_cast<uint16_t>(TRY(place->integer(0xffff))));
}

Result<SignerFactor> read_signer(const Place& place) {
  const Fields fields =
      TRY(Fields::of(place, {"mrsigner", "isvprodid", "isvsvn", "isvsvn_min", "isvsvn_max"}));
  SignerFactor signer;
  const Place mrsigner = TRY(fields.require("mrsigner"));
  signer.mrsigner = TRY(mrsigner.hex<32>());
  signer.isv_prod_id = TRY(read_u16(fields, "isvprodid"));
  signer.isv_svn = TRY(read_u16(fields, "isvsvn"));
  signer.isv_svn_min = TRY(read_u16(fields, "isvsvn_min"));
  signer.isv_svn_max = TRY(read_u16(fields, "isvsvn_max"));
  if (!signer.isv_prod_id) return place.malformed("missing field `isvprodid`");
  if (!signer.isv_svn && !signer.isv_svn_min)
    return place.malformed("missing field `isvsvn` or `isvsvn_min`");
  if (signer.isv_svn && (signer.isv_svn_min || signer.isv_svn_max)) {
    return place.malformed("`isvsvn` excludes `isvsvn_min` and `isvsvn_max`");
  }
  return signer;
}

Result<attestation::SnpTcb> read_snp_tcb(const Place& place) {
  const Fields fields = TRY(Fields::of(place, {"fmc", "boot_loader", "tee", "snp", "microcode"}));
  attestation::SnpTcb tcb;
  const std::pair<std::string_view, uint8_t*> numbers[] = {
      {"boot_loader", &tcb.boot_loader}, {"tee", &tcb.tee}, {"snp", &tcb.snp}, {"microcode", &tcb.microcode}};
  for (const auto& [key, number] : numbers) {
    const Place value = TRY(fields.require(key));
    *number = static_cast<uint8_t>(TRY(value.integer(0xff)));
  }
  if (const auto fmc = fields.find("fmc")) tcb.fmc = static_cast<uint8_t>(TRY(fmc->integer(0xff)));
  return tcb;
}

template <size_t N>
Result<std::vector<ByteArray<N>>> read_optional(const Fields& fields, std::string_view key) {
  if (const auto place = fields.find(key)) return read_measurements<N>(*place);
  return std::vector<ByteArray<N>>();
}

Result<uint64_t> read_bits(const Place& place) {
  const ByteArray<8> number = TRY(place.hex<8>());
  return load_be<uint64_t>(number.data());
}

Result<SnpFactor> read_snp(const Fields& fields) {
  SnpFactor snp;
  const Place measurement = TRY(fields.require("measurement"));
  snp.measurements = TRY(read_measurements<48>(measurement));
  snp.host_data = TRY(read_optional<32>(fields, "host_data"));
  snp.id_key_digests = TRY(read_optional<48>(fields, "id_key_digest"));
  snp.author_key_digests = TRY(read_optional<48>(fields, "author_key_digest"));
  if (const auto policy = fields.find("guest_policy")) {
    snp.guest_policy = TRY(read_bits(*policy));
    if ((*snp.guest_policy & snp_policy::kAlwaysOne) == 0)
      return policy->malformed("bit 17 of a guest's policy is always one");
  }
  if (const auto tcb = fields.find("minimum_tcb")) snp.minimum_tcb = TRY(read_snp_tcb(*tcb));
  if (const auto vmpl = fields.find("vmpl")) snp.vmpl = static_cast<uint32_t>(TRY(vmpl->integer(3)));
  return snp;
}

Result<TdxFactor> read_tdx(const Fields& fields) {
  TdxFactor tdx;
  TRY(fields.require(kTdxRegisters[kTdxMrtd]));
  for (size_t i = 0; i < kTdxRegisterCount; ++i) {
    if (const auto values = fields.find(kTdxRegisters[i]))
      tdx.registers[i] = TRY(read_measurements<48>(*values));
  }
  if (const auto attributes = fields.find(kTdAttributes)) tdx.td_attributes = TRY(read_bits(*attributes));
  return tdx;
}

bool is_snp(const Fields& fields) {
  return std::any_of(std::begin(kOfSnp), std::end(kOfSnp),
                     [&](std::string_view key) { return fields.has(key); });
}

bool is_tdx(const Fields& fields) {
  return fields.has(kTdAttributes) || std::any_of(kTdxRegisters.begin(), kTdxRegisters.end(),
                                                  [&](std::string_view key) { return fields.has(key); });
}

Result<AttestationVariant> read_variant(const Place& place) {
  const Fields fields = TRY(Fields::of(place, kFactors));
  AttestationVariant variant;
  if (const auto mrenclave = fields.find("mrenclave"))
    variant.mrenclaves = TRY(read_measurements<32>(*mrenclave));
  if (const auto signer = fields.find("signer")) variant.signer = TRY(read_signer(*signer));
  const bool enclave = !variant.mrenclaves.empty() || variant.signer;
  const bool snp = is_snp(fields);
  const bool tdx = is_tdx(fields);
  if (!enclave && !snp && !tdx)
    return place.malformed("expected `mrenclave`, `signer`, `measurement` or `mrtd`");
  if (int{enclave} + int{snp} + int{tdx} > 1) {
    std::string of_snp;
    for (const std::string_view key : kOfSnp)
      of_snp += (of_snp.empty() ? "`" : ", `") + std::string(key) + "`";
    return place.malformed("nothing is both: `mrenclave` and `signer` are an enclave's; " + of_snp +
                           " an SEV-SNP machine's; the others a TDX machine's");
  }
  if (snp) variant.snp = TRY(read_snp(fields));
  if (tdx) variant.tdx = TRY(read_tdx(fields));
  return variant;
}

Result<std::vector<AttestationVariant>> read_attestation(const Fields& fields) {
  std::vector<AttestationVariant> out;
  const std::optional<Place> legacy = fields.find("mrenclaves");
  const std::optional<Place> place = fields.find("attestation");
  if (legacy && place) return legacy->malformed("`mrenclaves` excludes `attestation`");
  if (legacy) {
    if (legacy->node().is_scalar()) return legacy->wrong_type("a sequence");
    AttestationVariant variant;
    variant.mrenclaves = TRY(read_measurements<32>(*legacy));
    out.push_back(std::move(variant));
  } else if (place && place->node().kind == Node::Kind::Mapping) {
    out.push_back(TRY(read_variant(*place)));
  } else if (place) {
    const size_t count = TRY(place->sequence_size(kMaxEntries));
    for (size_t i = 0; i < count; ++i) {
      const Place item = place->element(i);
      out.push_back(TRY(read_variant(item)));
    }
  }
  if (out.empty()) {
    return fields.place().malformed(
        "no enclave could ever be this service: missing field `mrenclaves` or `attestation`");
  }
  return out;
}

Result<std::vector<std::string>> read_command(const Place& place) {
  std::vector<std::string> words;
  if (place.node().kind == Node::Kind::Sequence) {
    const size_t count = TRY(place.sequence_size(kMaxEntries));
    for (size_t i = 0; i < count; ++i) {
      const Place item = place.element(i);
      words.push_back(TRY(item.string()));
    }
  } else {
    const std::string text = TRY(place.string());
    Result<std::vector<std::string>> split = split_command(text);
    if (!split.ok()) return place.malformed(split.error().message());
    words = std::move(*split);
  }
  if (words.empty() || words[0].empty()) return place.malformed("the command is empty");
  std::vector<uint32_t> seen;
  for (const std::string& word : words) {
    const Result<std::vector<uint32_t>> numbers = argument_numbers(word);
    if (!numbers.ok()) return place.malformed(numbers.error().message());
    for (const uint32_t number : *numbers) {
      if (std::find(seen.begin(), seen.end(), number) != seen.end()) {
        return place.malformed("host argument @@" + std::to_string(number) + " is used twice");
      }
      seen.push_back(number);
    }
  }
  return words;
}

Result<std::vector<EnvironmentEntry>> read_environment(const Place& place) {
  static constexpr std::string_view kFromHost = "\\@\\@";
  const Node& node = place.node();
  if (node.kind != Node::Kind::Mapping) return place.wrong_type("a map");
  if (node.items.size() > 2 * kMaxVariables) {
    return place.malformed("more than " + std::to_string(kMaxVariables) + " entries");
  }
  std::vector<EnvironmentEntry> out;
  out.reserve(node.items.size() / 2);
  for (size_t i = 0; i < node.items.size(); i += 2) {
    const std::string& key = node.items[i].text;
    const Place value(node.items[i + 1], place, key);
    EnvironmentEntry& entry = out.emplace_back();
    entry.from_host = key.starts_with(kFromHost);
    entry.name = entry.from_host ? key.substr(kFromHost.size()) : key;
    if (entry.name.empty() || entry.name.find('=') != std::string::npos) {
      return value.malformed("a variable's name must not be empty or contain `=`");
    }
    if (entry.name.size() > kMaxVariableName) {
      return value.malformed("a variable's name has more than " + std::to_string(kMaxVariableName) +
                             " bytes");
    }
    if (!entry.from_host) entry.value = TRY(value.string());
  }
  return out;
}

Result<std::vector<ByteArray<16>>> read_platforms(const Place& place) {
  static constexpr std::string_view kQeId = "INTEL_QE_ID:";
  std::vector<ByteArray<16>> out;
  const size_t count = TRY(place.sequence_size(kMaxEntries));
  if (count == 0) return place.malformed("an empty list allows no machine");
  for (size_t i = 0; i < count; ++i) {
    const Place item = place.element(i);
    const std::string text = TRY(item.string());
    if (!text.starts_with(kQeId)) return item.unsupported("a platform is INTEL_QE_ID: and 32 hex digits");
    const Result<ByteArray<16>> id = array_from_hex<16>(std::string_view(text).substr(kQeId.size()));
    if (!id.ok()) return item.malformed("a platform is INTEL_QE_ID: and 32 hex digits");
    out.push_back(*id);
  }
  return out;
}

}  // namespace

Result<Service> read_service(const Place& place) {
  const Fields fields = TRY(Fields::of(
      place,
      {"name", "image_name", "command", "environment", "pwd", "mrenclaves", "attestation", "platforms",
       "fspf_path", "fspf_key", "fspf_tag", "fspf_update_policy", "one_time_password_shared_secret"},
      {"environment"}));
  TRY(fields.refuse({"fspf_path", "fspf_key", "fspf_tag", "fspf_update_policy"}, kRootProtection));
  Service service;
  service.mark = place.node().mark;
  const Place name = TRY(fields.require("name"));
  service.name = TRY(read_name(name));
  service.image_name = TRY(fields.string_or("image_name", ""));
  service.attestation = TRY(read_attestation(fields));
  service.by_mrenclaves = fields.has("mrenclaves");
  const Place command = TRY(fields.require("command"));
  service.command = TRY(read_command(command));
  if (const auto environment = fields.find("environment")) {
    service.environment = TRY(read_environment(*environment));
  }
  if (const auto pwd = fields.find("pwd")) service.pwd = TRY(read_path(*pwd));
  service.password_secret = TRY(read_password_secret(fields));
  if (const auto platforms = fields.find("platforms")) service.platforms = TRY(read_platforms(*platforms));
  return service;
}

}  // namespace cloister::policy

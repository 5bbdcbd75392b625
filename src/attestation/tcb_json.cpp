#include "attestation/tcb_json.h"

#include <algorithm>
#include <ctime>

#include "attestation/json.h"

namespace cloister::attestation {
namespace {

constexpr size_t kMaxLevels = 1024;
constexpr size_t kMaxModules = 64;
constexpr size_t kMaxAdvisories = 1024;

Error bad(std::string_view what) { return Error(Code::Malformed, "collateral: " + std::string(what)); }

template <size_t N>
Result<ByteArray<N>> hex_field(const Json& object, const char* key) {
  const std::string text = TRY(json_string(object, key));
  return array_from_hex<N>(text);
}

Result<int64_t> time_field(const Json& object, const char* key) {
  const std::string text = TRY(json_string(object, key));
  return parse_rfc3339(text);
}

Result<TcbStatus> status_field(const Json& object) {
  const std::string text = TRY(json_string(object, "tcbStatus"));
  const auto status = parse_tcb_status(text);
  if (!status) return bad("unknown TCB status " + text.substr(0, 64));
  return *status;
}

Result<std::vector<std::string>> advisories(const Json& object) {
  std::vector<std::string> out;
  const auto found = object.find("advisoryIDs");
  if (found == object.end()) return out;
  if (!found->is_array() || found->size() > kMaxAdvisories) return bad("advisoryIDs is not a list");
  for (const Json& item : *found) {
    if (!item.is_string()) return bad("an advisory is not a string");
    out.push_back(item.get<std::string>());
  }
  return out;
}

Result<ByteArray<16>> component_list(const Json& tcb, const char* key) {
  const Json* list = TRY(json_array(tcb, key, 16));
  if (list->size() != 16) return bad(std::string(key) + " has not 16 entries");
  ByteArray<16> out;
  for (size_t i = 0; i < 16; ++i) out[i] = static_cast<uint8_t>(TRY(json_unsigned((*list)[i], "svn", 255)));
  return out;
}

Result<ByteArray<16>> components_v2(const Json& tcb) {
  ByteArray<16> out;
  for (size_t i = 0; i < 16; ++i) {
    char key[32] = "sgxtcbcomp00svn";
    key[10] = static_cast<char>('0' + (i + 1) / 10);
    key[11] = static_cast<char>('0' + (i + 1) % 10);
    out[i] = static_cast<uint8_t>(TRY(json_unsigned(tcb, key, 255)));
  }
  return out;
}

Result<const Json*> tcb_of(const Json& level) {
  const auto found = level.find("tcb");
  if (found == level.end() || !found->is_object()) return bad("a level without tcb");
  return &*found;
}

Result<TcbLevel> parse_level(const Json& json, uint32_t version, Tee tee) {
  TcbLevel level;
  const Json* tcb = TRY(tcb_of(json));
  if (version == 2) {
    level.sgx_components = TRY(components_v2(*tcb));
  } else {
    level.sgx_components = TRY(component_list(*tcb, "sgxtcbcomponents"));
    if (tee == Tee::Tdx) level.tdx_components = TRY(component_list(*tcb, "tdxtcbcomponents"));
  }
  level.pce_svn = static_cast<uint16_t>(TRY(json_unsigned(*tcb, "pcesvn", UINT16_MAX)));
  level.status = TRY(status_field(json));
  level.date = TRY(time_field(json, "tcbDate"));
  level.advisory_ids = TRY(advisories(json));
  return level;
}

Result<std::vector<IsvLevel>> parse_isv_levels(const Json& object) {
  const Json* list = TRY(json_array(object, "tcbLevels", kMaxLevels));
  std::vector<IsvLevel> out;
  for (const Json& json : *list) {
    IsvLevel level;
    const Json* tcb = TRY(tcb_of(json));
    level.isv_svn = static_cast<uint16_t>(TRY(json_unsigned(*tcb, "isvsvn", UINT16_MAX)));
    level.status = TRY(status_field(json));
    if (level.status == TcbStatus::SWHardeningNeeded ||
        level.status == TcbStatus::ConfigurationAndSWHardeningNeeded) {
      return bad("a TCB status that enclave identities do not have");
    }
    level.date = TRY(time_field(json, "tcbDate"));
    level.advisory_ids = TRY(advisories(json));
    out.push_back(std::move(level));
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const auto& a, const auto& b) { return a.isv_svn > b.isv_svn; });
  return out;
}

Result<TdxModule> parse_module(const Json& json, bool has_levels) {
  TdxModule module;
  module.mr_signer = TRY(hex_field<48>(json, "mrsigner"));
  const auto attributes = TRY(hex_field<8>(json, "attributes"));
  const auto mask = TRY(hex_field<8>(json, "attributesMask"));
  module.attributes = load_le<uint64_t>(attributes.data());
  module.attributes_mask = load_le<uint64_t>(mask.data());
  if (has_levels) {
    module.id = TRY(json_string(json, "id"));
    std::transform(module.id.begin(), module.id.end(), module.id.begin(), [](unsigned char c) {
      return static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    });
    module.levels = TRY(parse_isv_levels(json));
  }
  return module;
}

// Highest first: compare as sequences, SGX components, then TDX components, then PCESVN.
bool higher(const TcbLevel& a, const TcbLevel& b) {
  if (a.sgx_components != b.sgx_components) return a.sgx_components > b.sgx_components;
  if (a.tdx_components != b.tdx_components) return a.tdx_components > b.tdx_components;
  return a.pce_svn > b.pce_svn;
}

Result<void> parse_modules(const Json& json, TcbInfo& info) {
  const auto plain = json.find("tdxModule");
  if (plain != json.end()) {
    if (!plain->is_object()) return bad("tdxModule is not an object");
    info.module = TRY(parse_module(*plain, false));
  }
  if (!json.contains("tdxModuleIdentities")) return {};
  const Json* list = TRY(json_array(json, "tdxModuleIdentities", kMaxModules));
  for (const Json& item : *list) {
    TdxModule module = TRY(parse_module(item, true));
    info.module_identities.push_back(std::move(module));
  }
  return {};
}

}  // namespace

Result<SignedJson> split_signed_json(std::string_view body, std::string_view key) {
  const std::string name(key);
  const Json json = TRY(parse_json_object(body, kMaxJsonSize, key));
  if (!json.contains(name)) return SignedJson{std::string(body), {}};
  const std::string hex = TRY(json_string(json, "signature"));
  const std::string opening = "{\"" + name + "\":";
  const size_t end = body.rfind(",\"signature\":");
  if (!body.starts_with(opening) || end == std::string_view::npos || end <= opening.size()) {
    return bad(name + ": a body that does not begin with " + opening + " and end with its signature");
  }
  SignedJson out;
  out.text = std::string(body.substr(opening.size(), end - opening.size()));
  out.signature = TRY(from_hex(hex));
  return out;
}

std::string format_rfc3339(int64_t seconds) {
  const std::time_t time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  if (gmtime_r(&time, &parts) == nullptr || parts.tm_year < -1900 || parts.tm_year > 8099)
    return "out of range";
  char text[32];
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

Result<int64_t> parse_rfc3339(std::string_view text) {
  // YYYY-MM-DDThh:mm:ssZ, the only form in use.
  static constexpr std::string_view kShape = "dddd-dd-ddTdd:dd:ddZ";
  if (text.size() != kShape.size()) return bad("a time is not in the form 2025-07-04T10:28:44Z");
  int numbers[6] = {};
  int field = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (kShape[i] != 'd') {
      if (text[i] != kShape[i]) return bad("a time is not in the form 2025-07-04T10:28:44Z");
      ++field;
    } else if (text[i] < '0' || text[i] > '9') {
      return bad("a time is not in the form 2025-07-04T10:28:44Z");
    } else {
      numbers[field] = numbers[field] * 10 + (text[i] - '0');
    }
  }
  if (numbers[1] < 1 || numbers[1] > 12 || numbers[2] < 1 || numbers[2] > 31 || numbers[3] > 23 ||
      numbers[4] > 59 || numbers[5] > 60) {
    return bad("a time that does not exist");
  }
  std::tm parts{};
  parts.tm_year = numbers[0] - 1900;
  parts.tm_mon = numbers[1] - 1;
  parts.tm_mday = numbers[2];
  parts.tm_hour = numbers[3];
  parts.tm_min = numbers[4];
  parts.tm_sec = numbers[5];
  return static_cast<int64_t>(timegm(&parts));
}

Result<TcbInfo> parse_tcb_info(std::string_view text) {
  const Json json = TRY(parse_json_object(text, kMaxJsonSize, "TCB info"));
  TcbInfo info;
  info.version = TRY(json_unsigned(json, "version", 3));
  if (info.version < 2) return bad("TCB info version");
  if (info.version == 3) {
    const std::string id = TRY(json_string(json, "id"));
    if (id != "SGX" && id != "TDX") return bad("TCB info is for an unknown TEE");
    info.tee = id == "SGX" ? Tee::Sgx : Tee::Tdx;
  }
  info.issued = TRY(time_field(json, "issueDate"));
  info.next_update = TRY(time_field(json, "nextUpdate"));
  info.fmspc = TRY(hex_field<6>(json, "fmspc"));
  info.pce_id = TRY(hex_field<2>(json, "pceId"));
  info.evaluation_number = TRY(json_unsigned(json, "tcbEvaluationDataNumber", UINT32_MAX));
  if (info.tee == Tee::Tdx) TRY(parse_modules(json, info));
  const Json* levels = TRY(json_array(json, "tcbLevels", kMaxLevels));
  for (const Json& item : *levels) {
    TcbLevel level = TRY(parse_level(item, info.version, info.tee));
    info.levels.push_back(std::move(level));
  }
  std::stable_sort(info.levels.begin(), info.levels.end(), higher);
  return info;
}

Result<QeIdentity> parse_qe_identity(std::string_view text) {
  const Json json = TRY(parse_json_object(text, kMaxJsonSize, "QE identity"));
  QeIdentity out;
  if (TRY(json_unsigned(json, "version", UINT32_MAX)) != 2) return bad("QE identity version");
  const std::string id = TRY(json_string(json, "id"));
  if (id != "QE" && id != "TD_QE") return bad("the identity is not one of a quoting enclave");
  out.tee = id == "QE" ? Tee::Sgx : Tee::Tdx;
  out.issued = TRY(time_field(json, "issueDate"));
  out.next_update = TRY(time_field(json, "nextUpdate"));
  out.evaluation_number = TRY(json_unsigned(json, "tcbEvaluationDataNumber", UINT32_MAX));
  const auto misc = TRY(hex_field<4>(json, "miscselect"));
  const auto misc_mask = TRY(hex_field<4>(json, "miscselectMask"));
  out.misc_select = load_le<uint32_t>(misc.data());
  out.misc_select_mask = load_le<uint32_t>(misc_mask.data());
  out.attributes = TRY(hex_field<16>(json, "attributes"));
  out.attributes_mask = TRY(hex_field<16>(json, "attributesMask"));
  out.mr_signer = TRY(hex_field<32>(json, "mrsigner"));
  out.isv_prod_id = static_cast<uint16_t>(TRY(json_unsigned(json, "isvprodid", UINT16_MAX)));
  out.levels = TRY(parse_isv_levels(json));
  return out;
}

}  // namespace cloister::attestation

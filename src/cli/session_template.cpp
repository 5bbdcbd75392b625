#include "cli/session_template.h"

namespace cloister::cli {
namespace {

// A double-quoted YAML scalar.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

void replace(std::string& text, std::string_view what, const std::string& with) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
}

constexpr std::string_view kTemplate =
    R"(# Who may read these volumes: the one program whose measurement stands under `mrenclaves`.
# encryptedpush fills in what starts with a dollar sign.
name: $SESSION
version: "0.3"
services:
   - name: application
     image_name: @NAME@
     mrenclaves: [@MRENCLAVE@]
     command: @ENTRY@
     pwd: /
     environment:
        SCONE_MODE: auto
volumes:
   - name: encrypted-input-files
     fspf_tag: $INPUT_FSPF_TAG
     fspf_key: $INPUT_FSPF_KEY
   - name: encrypted-output-files
     fspf_tag: $OUTPUT_FSPF_TAG
     fspf_key: $OUTPUT_FSPF_KEY
images:
   - name: @NAME@
     volumes:
        - name: encrypted-input-files
          path: /encryptedInputs
        - name: encrypted-output-files
          path: /encryptedOutputs
security:
  attestation:
    # simulation-mode accepts the software SGX, which protects nothing from the machine's owner. For
    # production on SGX hardware: take it out, and set SCONE_MODE to hw.
    tolerate: [simulation-mode, hyperthreading]
)";

}  // namespace

std::string session_template(const std::string& name, const std::string& entry,
                             const std::string& mrenclave) {
  std::string text(kTemplate);
  replace(text, "@NAME@", quoted(name));
  replace(text, "@ENTRY@", quoted(entry));
  replace(text, "@MRENCLAVE@", mrenclave);
  return text;
}

}  // namespace cloister::cli

// The session language: what is read, what is refused and where, and the hash that does not depend on style.
#include "policy/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policy/lint.h"
#include "policy/placeholders.h"

namespace cloister::policy {
namespace {

const std::string kMeasurement(64, 'a');
const std::string kKey(64, '1');
const std::string kTag(32, '2');

// The shape of the tutorial's template after its variables were filled in.
std::string tutorial() {
  return "name: my_session-1\n"
         "version: \"0.3\"\n"
         "services:\n"
         "  - name: app\n"
         "    image_name: app_image\n"
         "    mrenclaves: [" +
         kMeasurement +
         "]\n"
         "    command: /bin/python3 /app/main.py \"two words\"\n"
         "    pwd: /\n"
         "    environment:\n"
         "      LD_LIBRARY_PATH: \"/lib\"\n"
         "      SCONE_MODE: sim\n"
         "volumes:\n"
         "  - name: encrypted_input_files\n"
         "    fspf_tag: " +
         kTag +
         "\n"
         "    fspf_key: " +
         kKey +
         "\n"
         "images:\n"
         "  - name: app_image\n"
         "    volumes:\n"
         "      - name: encrypted_input_files\n"
         "        path: /data/in/\n"
         "security:\n"
         "  attestation:\n"
         "    tolerate: [simulation-mode, hyperthreading, outdated-tcb]\n"
         "    ignore_advisories: [INTEL-SA-00161]\n"
         "access_policy: {read: [CREATOR], update: [CREATOR]}\n";
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  CLOISTER_CHECK(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

std::string refusal(std::string_view text) {
  const Result<Session> session = parse_session(text);
  return session.ok() ? "accepted" : session.error().message();
}

TEST(Session, ReadsTheTutorialsTemplate) {
  const Result<Session> session = parse_session(tutorial());
  ASSERT_TRUE(session.ok()) << session.error().message();
  const Service* service = session->find_service("app");
  ASSERT_NE(service, nullptr);
  EXPECT_EQ(service->command, (std::vector<std::string>{"/bin/python3", "/app/main.py", "two words"}));
  EXPECT_EQ(service->environment_value("SCONE_MODE"), "sim");
  ASSERT_EQ(session->volumes.size(), 1u);
  EXPECT_EQ(to_hex(*session->volumes[0].tag), kTag);
  EXPECT_EQ(to_hex(session->volumes[0].key->expose()), kKey);
  ASSERT_NE(session->find_image("app_image"), nullptr);
  EXPECT_EQ(session->find_image("app_image")->volumes[0].path, "/data/in");
  EXPECT_TRUE(session->security.tolerates(Toleration::SimulationMode));
  EXPECT_FALSE(session->security.tolerates(Toleration::DebugMode));
}

TEST(Session, RefusesAnUnknownKeyWithItsPosition) {
  EXPECT_THAT(refusal(replaced(tutorial(), "pwd: /", "pwdd: /")), testing::HasSubstr("unknown field `pwdd`"));
  EXPECT_THAT(refusal(replaced(tutorial(), "pwd: /", "pwdd: /")), testing::HasSubstr("at line 8 column 5"));
}

TEST(Session, RefusesAnUnquotedNumberWhereAStringBelongs) {
  const std::string text = refusal(replaced(tutorial(), "SCONE_MODE: sim", "N: 0"));
  EXPECT_THAT(text, testing::HasSubstr("invalid type: integer `0`, expected a string"));
  EXPECT_THAT(text, testing::HasSubstr("services[0].environment.N"));
}

TEST(Session, RefusesWhatIsNotThere) {
  EXPECT_THAT(refusal(replaced(tutorial(), "image_name: app_image", "image_name: other")),
              testing::HasSubstr("no image `other`"));
  EXPECT_THAT(refusal(replaced(tutorial(), "      - name: encrypted_input_files", "      - name: other")),
              testing::HasSubstr("no volume `other`"));
  EXPECT_THAT(refusal(replaced(tutorial(), "SCONE_MODE: sim", "S: $$SCONE::password$$")),
              testing::HasSubstr("no secret `password`"));
}

TEST(Session, RefusesAServiceThatAnyEnclaveCouldBe) {
  const std::string without = replaced(tutorial(), "    mrenclaves: [" + kMeasurement + "]\n", "");
  EXPECT_THAT(refusal(without), testing::HasSubstr("no enclave could ever be this service"));
  EXPECT_THAT(refusal(replaced(tutorial(), kMeasurement, kMeasurement.substr(1))),
              testing::HasSubstr("expected 64 hex digits"));
}

TEST(Session, RefusesATagWithoutItsKey) {
  EXPECT_THAT(refusal(replaced(tutorial(), "    fspf_key: " + kKey + "\n", "")),
              testing::HasSubstr("go together"));
}

TEST(Session, TakesAKeylessVolumeButNotTwoAtOnePath) {
  const std::string text = replaced(tutorial(), "volumes:\n", "volumes:\n  - name: out\n");
  const Result<Session> session = parse_session(text);
  ASSERT_TRUE(session.ok()) << session.error().message();
  EXPECT_TRUE(session->find_volume("out")->keyless());
  EXPECT_THAT(
      refusal(replaced(text, "path: /data/in/\n", "path: /data/in/\n      - {name: out, path: /data/in}\n")),
      testing::HasSubstr("two volumes at `/data/in`"));
}

TEST(Session, BoundsTheNamesOfVariables) {
  const auto with_name = [](size_t size) {
    return replaced(tutorial(), "    environment:\n",
                    "    environment:\n      ? " + std::string(size, 'N') + "\n      : v\n");
  };
  EXPECT_EQ(refusal(with_name(kMaxVariableName)), "accepted");
  EXPECT_THAT(refusal(with_name(kMaxVariableName + 1)), testing::HasSubstr("more than 1024 bytes"));
}

TEST(Session, RefusesAllAdvisoriesIgnoredWithoutDebugMode) {
  EXPECT_THAT(refusal(replaced(tutorial(), "[INTEL-SA-00161]", "\"*\"")), testing::HasSubstr("debug-mode"));
}

TEST(Session, RefusesWhatThisVersionCannotKeepAsUnsupported) {
  const Result<Session> session =
      parse_session(replaced(tutorial(), "security:\n  attestation:\n",
                             "security:\n  attestation:\n    trusted_scone_qe_pubkeys: [aa]\n"));
  ASSERT_FALSE(session.ok());
  EXPECT_EQ(session.error().code(), Code::Unsupported);
}

TEST(Session, ReadsWhatAnEnclaveHasToKnowOrBe) {
  const std::string base32 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
  const auto with = [&](const std::string& secret, const std::string& secrets = {}) {
    return parse_session(
        replaced(replaced(tutorial(), "    pwd: /\n",
                          "    pwd: /\n    one_time_password_shared_secret: " + secret + "\n"),
                 "volumes:\n  - name", secrets + "volumes:\n  - name"));
  };
  const Session session = with(base32).value();
  EXPECT_EQ(session.password_secret_of(session.services[0]), base32);
  EXPECT_EQ(session.security.password_secret, "");
  const std::string binary = "secrets: [{name: otp, kind: binary, size: 20}]\n";
  EXPECT_TRUE(with("$$SCONE::otp:base32nopad$$", binary).ok());
  EXPECT_TRUE(with("$$SCONE::otp:base32$$", binary).ok());
  EXPECT_TRUE(with("$$SCONE::otp$$", "secrets: [{name: otp, kind: ascii, value: " + base32 + "}]\n").ok());
  const auto refusal_of = [](const Result<Session>& one) {
    return one.ok() ? std::string("accepted") : one.error().message();
  };
  EXPECT_THAT(refusal_of(with("123456")), testing::HasSubstr("expected a string"));
  EXPECT_THAT(refusal_of(with("GEZDGNBVGY3TQOJQ")), testing::HasSubstr("at least 16 bytes"));
  EXPECT_THAT(refusal_of(with("not-base-32!")), testing::HasSubstr("is base32"));
  EXPECT_THAT(refusal_of(with("$$SCONE::otp:hex$$", binary)), testing::HasSubstr("base32nopad"));
  EXPECT_THAT(refusal_of(with("$$SCONE::absent$$", binary)), testing::HasSubstr("no secret `absent`"));
  EXPECT_THAT(refusal_of(with("$$SCONE::otp:base32$$", "secrets: [{name: otp, kind: binary, size: 15}]\n")),
              testing::HasSubstr("at least 16 bytes"));
  EXPECT_THAT(refusal_of(with("$$SCONE::otp$$", "secrets: [{name: otp, kind: ascii, size: 40}]\n")),
              testing::HasSubstr("base32"));
  const std::string security = "security:\n  singleton_enclaves: true\n";
  EXPECT_TRUE(
      parse_session(replaced(tutorial(), "security:\n", security)).value().security.singleton_enclaves);
  EXPECT_FALSE(session.security.singleton_enclaves);
}

// Keys that must have a value, and what stands around them.
const std::string_view kSections[] = {"services:", "volumes:", "images:", "secrets:"};
struct KeysOf {
  std::string before, after;
  std::vector<std::string_view> keys;
};
const KeysOf kKeys[] = {
    {"",
     "",
     {"name", "version", "access_policy", "security", "creator", "namespace_hash", "salt", "secret_config"}},
    {"services: [{name: a, command: x, mrenclaves: [" + kMeasurement + "], ",
     "}]",
     {"image_name", "pwd", "attestation", "platforms", "fspf_path", "fspf_key", "fspf_tag",
      "fspf_update_policy", "one_time_password_shared_secret"}},
    {"services: [{name: a, command: x, attestation: {mrenclave: " + kMeasurement + "}, ",
     "}]",
     {"mrenclaves"}},
    {"services: [{", "}]", {"name", "command"}},
    {"volumes: [{name: v, ", "}]", {"fspf_key", "fspf_tag", "update_policy", "files", "export", "import"}},
    {"images: [{name: i, ", "}]", {"provide_secrets"}},
    {"volumes: [{name: v}]\nimages: [{name: i, volumes: [{name: v, path: /v, ", "}]}]", {"update_policy"}},
    {"images: [{name: i, injection_files: [{path: /f, content: c, ", "}]}]", {"permission"}},
    {"images: [{name: i, injection_files: [{path: /f, ", "}]}]", {"content"}},
    {"secrets: [{name: s, kind: ascii, ",
     "}]",
     {"size", "value", "export", "export_public", "import", "import_akv", "issuer", "valid_for"}},
    {"access_policy: {", "}", {"read", "update", "create_sessions", "list_sessions"}},
    {"security: {", "}", {"attestation", "singleton_enclaves", "service_access_token"}},
    {"security: {attestation: {",
     "}}",
     {"mode", "must_be_sgx_local", "trusted_scone_qe_pubkeys", "one_time_password_shared_secret", "url",
      "certificates", "min_rsa_signing_key_size"}},
};

// Whoever forgot the value, or filled in `~`, believes in a condition that would not be there.
TEST(Session, RefusesAKeyWithoutAValue) {
  for (const KeysOf& of : kKeys) {
    for (const std::string_view key : of.keys) {
      const bool head = key == "name" || key == "version";
      for (const char* nothing : {"~", "null", ""}) {
        std::string text = of.before + std::string(key) + ": " + nothing + of.after + "\n";
        if (!head || !of.before.empty()) text = "name: s\nversion: \"0.3\"\n" + text;
        EXPECT_THAT(refusal(text), testing::HasSubstr(std::string(key) + ": a key without a value")) << text;
      }
    }
  }
}

// Their absence gives and allows less, and a list may have all its entries commented out.
TEST(Session, TakesAnEmptyListForNone) {
  const std::string head = "name: s\nversion: \"0.3\"\n";
  for (const std::string_view key : kSections) EXPECT_EQ(refusal(head + std::string(key) + "\n"), "accepted");
  for (const std::string& text :
       {std::string("predecessor: ~\n"), std::string("images: [{name: i, volumes: ~, injection_files: ~}]\n"),
        std::string("security: {attestation: {tolerate: ~, ignore_advisories: ~}}\n"),
        "services: [{name: a, command: x, environment: ~, mrenclaves: [" + kMeasurement + "]}]\n"}) {
    EXPECT_EQ(refusal(head + text), "accepted") << text;
  }
}

// As a template's variable that is empty would leave it: that would be a session that asks for no token.
TEST(Session, RefusesAnEmptyAccessToken) {
  const std::string head = "name: s\nversion: \"0.3\"\nsecurity: {service_access_token: ",
                    secret = "secrets: [{name: t, kind: ascii, value: ";
  EXPECT_THAT(refusal(head + "\"\"}\n"),
              testing::HasSubstr("security.service_access_token: an empty token would ask for none"));
  EXPECT_THAT(refusal(head + "$$SCONE::t$$}\n" + secret + "\"\"}]\n"),
              testing::HasSubstr("the secret `t` is empty"));
  EXPECT_EQ(refusal(head + "$$SCONE::t$$}\n" + secret + "x}]\n"), "accepted");
  EXPECT_EQ(refusal(head + "x}\n"), "accepted");
}

TEST(Session, RefusesDepthAliasBombsAndTwoDocuments) {
  EXPECT_NE(refusal(std::string(100, '[') + std::string(100, ']')), "accepted");
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int n = 0; n < 9; ++n) bomb += ", " + before;
    bomb += "]\n";
  }
  EXPECT_NE(refusal(bomb), "accepted");
  EXPECT_NE(refusal(tutorial() + "---\n" + tutorial()), "accepted");
  EXPECT_NE(refusal(tutorial() + "name: twice\n"), "accepted");
}

TEST(Session, HashesWhatIsSaidAndNotHowItIsWritten) {
  const Session one = parse_session(tutorial()).value();
  const Session two = parse_session(replaced("# a comment\n" + tutorial(), "sim\n", "\"sim\"\n")).value();
  const Session other = parse_session(replaced(tutorial(), "my_session-1", "my_session-2")).value();
  const crypto::Digest creator{1}, somebody{2};
  EXPECT_EQ(session_hash(one, creator), session_hash(two, creator));
  EXPECT_NE(session_hash(one, creator), session_hash(other, creator));
  EXPECT_NE(session_hash(one, creator), session_hash(one, somebody)) << "the text says CREATOR";
}

TEST(Session, HashesTheDocumentedVector) {
  const Session session = parse_session("name: s\nversion: \"0.3\"\n").value();
  EXPECT_EQ(session.canonical, R"({"name":"s","version":"0.3"})");
  EXPECT_EQ(to_hex(session_hash(session, {})),
            "df62b9cb70d641c17787584ac34015a98f931bc91a9c3c46e38c8d22b0cd29ac");
}

TEST(Lint, NamesWhatWeakensASession) {
  const std::vector<Finding> findings = lint(parse_session(tutorial()).value());
  EXPECT_TRUE(std::any_of(findings.begin(), findings.end(),
                          [](const Finding& finding) { return finding.rule == "simulation-mode"; }));
}

// Who writes them believes in them.
TEST(Lint, NamesTolerationsWithoutEffectWhereTheyStand) {
  const std::string begin = "name: s\nversion: \"0.3\"\nsecurity:\n  attestation:\n    tolerate: [",
                    end = "]\n";
  const auto found = [&](const std::string& list) {
    std::string out;
    for (const Finding& finding : lint(parse_session(begin + list + end).value())) {
      if (finding.rule == "without-effect") out += finding.mark.text() + ": " + finding.text + "\n";
    }
    return out;
  };
  EXPECT_EQ(found("hyperthreading, aepic-leak"), "");
  const std::string both = found("maa-managed-tcb, hyperthreading, local-attestation-trust-cas-tcb");
  EXPECT_EQ(
      both,
      "at line 5 column 16: `maa-managed-tcb` has no effect here: evidence of that kind is not accepted; "
      "leave it out\n"
      "at line 5 column 49: `local-attestation-trust-cas-tcb` has no effect here: evidence of that kind is "
      "not accepted; leave it out\n");
}

TEST(Placeholders, FillsInHostArgumentsAndRefusesMissingOnes) {
  EXPECT_EQ(expand_arguments("-x=@@2", {"a", "b"}).value(), "-x=b");
  EXPECT_EQ(expand_arguments("@@2", {"a"}).error().code(), Code::InvalidArgument);
}

TEST(Placeholders, FillsInSecretsInTheirFormat) {
  const auto lookup = [](const SecretReference& reference) -> Result<std::string> {
    return format_secret(as_bytes("\x01\xff"), false, reference.format);
  };
  EXPECT_EQ(expand_secrets("a$$SCONE::k:hex$$b$$", lookup).value(), "a01ffb$$");
  EXPECT_FALSE(expand_secrets("$$SCONE::k", lookup).ok());
  const auto outside = [](std::string_view text) { return expand_arguments(text, {"$$SCONE::k$$"}); };
  EXPECT_EQ(expand_secrets("@@1$$SCONE::k:hex$$@@1", lookup, outside).value(), "$$SCONE::k$$01ff$$SCONE::k$$")
      << "what an argument says is not a reference";
  EXPECT_EQ(expand_secrets("$$SCONE::k:hex$$@@2", lookup, outside).error().code(), Code::InvalidArgument);
}

}  // namespace
}  // namespace cloister::policy

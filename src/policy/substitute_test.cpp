// Filling in $VAR: a variable's value can never become syntax.
#include "policy/substitute.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policy/yaml.h"

namespace cloister::policy {
namespace {

TEST(Substitute, ReplacesBothFormsInValues) {
  EXPECT_EQ(substitute("a: $X\nb: p-${Y}-q # kept\n", {{"X", "1"}, {"Y", "2"}}).value(),
            "a: \"1\"\nb: \"p-2-q\" # kept\n");
}

TEST(Substitute, LeavesSecretReferencesAlone) {
  EXPECT_EQ(substitute("a: $$SCONE::key$$\n", {{"SCONE", "x"}}).value(), "a: $$SCONE::key$$\n");
}

TEST(Substitute, NamesAMissingVariableAndItsPlace) {
  const Result<std::string> out = substitute("name: s\nlist:\n  - $MISSING\n", {});
  ASSERT_FALSE(out.ok());
  EXPECT_EQ(out.error().code(), Code::InvalidArgument);
  EXPECT_THAT(out.error().message(),
              testing::HasSubstr("Value for variable $MISSING is missing at line 3 column 5"));
}

TEST(Substitute, KeepsAValueFromBecomingSyntax) {
  const std::string value = "x\", admin: \"y\nother: z";
  const std::string out = substitute("a: $V\n", {{"V", value}}).value();
  const Node tree = parse_yaml(out).value();
  ASSERT_EQ(tree.items.size(), 2u);
  EXPECT_EQ(tree.items[1].text, value);
}

TEST(Substitute, KeepsTheSignForNothing) { EXPECT_EQ(substitute("a: $V\n", {{"V", "~"}}).value(), "a: ~\n"); }

}  // namespace
}  // namespace cloister::policy

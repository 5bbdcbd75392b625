// Where the outside vectors are, and how the drivers read them.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <string>

namespace cloister::attestation {

inline std::filesystem::path vectors_folder() {
  const char* given = std::getenv("CLOISTER_TESTDATA");
  return std::filesystem::path(given != nullptr ? given : CLOISTER_SOURCE_DIR "/../shared/testdata") /
         "attestation";
}

// Why a test of outside vectors is skipped.
inline std::string absent(const std::filesystem::path& folder) {
  return folder.string() +
         " is absent: it is of a set of shared vectors that is no part of the repository, " +
         "found through $CLOISTER_TESTDATA or ../shared/testdata";
}

inline std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// How many vectors of each kind ran in this process; said once, after the last test.
class VectorTotals : public ::testing::Environment {
 public:
  static std::map<std::string, int>& of_kinds() {
    static std::map<std::string, int> totals;
    return totals;
  }
  void TearDown() override {
    if (of_kinds().empty()) return;
    int total = 0;
    std::string kinds;
    for (const auto& [kind, count] : of_kinds()) {
      total += count;
      kinds += ", " + kind + " " + std::to_string(count);
    }
    std::cout << "all vectors: " << total << kinds << "\n";
  }
};
inline ::testing::Environment* const kVectorTotals =
    ::testing::AddGlobalTestEnvironment(new VectorTotals);  // GoogleTest frees it

// "snp: 9 vectors, ok 5, reject 4"; returns how many.
inline int print_counts(std::string_view kind, const std::map<std::string, int>& counts) {
  int total = 0;
  for (const auto& [expectation, count] : counts) total += count;
  std::cout << kind << ": " << total << " vectors";
  for (const auto& [expectation, count] : counts) std::cout << ", " << expectation << " " << count;
  std::cout << "\n";
  VectorTotals::of_kinds()[std::string(kind)] += total;
  return total;
}

}  // namespace cloister::attestation

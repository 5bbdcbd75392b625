// For tests: the independent reader, tools/volume_reader.py, is asked about the volumes that tests end with.
// They are put into a folder with what the library reads of them. When the tests of this process have ended,
// one Python process compares all, and the run fails if anything differs.
#pragma once

#include <filesystem>
#include <string>

#include "volume/memory_storage.h"
#include "volume/volume.h"

namespace cloister::volume {

// A state of a healthy volume. So that time is bounded, only the first few of each test are taken, and no
// more than 64 MiB unless the first is larger: who has many chooses. How many were left out is printed at the
// end. `what` tells it from the others of the test.
void give_to_second_reader(MemoryStorage& storage, const Key& key, const Tag& tag, const std::string& what);
void give_to_second_reader(MemoryStorage& storage, const Root& root, const std::string& what);
void give_to_second_reader(const std::filesystem::path& folder, const Key& key, const Tag& tag,
                           const std::string& what);

// Compares a folder of such volumes: "" or what differs. Nothing when `missing`: python3-cryptography.
std::string compare_with_second_reader(const std::string& folder, bool& missing);

}  // namespace cloister::volume

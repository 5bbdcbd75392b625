#include "sgx/patch_build.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "volume/memory_storage.h"

namespace cloister::sgx {
namespace {

using volume::kRootInode;
using volume::Volume;

struct Root {
  volume::MemoryStorage storage;
  std::unique_ptr<Volume> volume;
  Root() {
    volume::CreateOptions options;
    options.mode = volume::Mode::AuthenticatedOnly;
    volume = Volume::create(storage, volume::Key(), options).value();
  }
  volume::InodeId add(std::string_view name, ByteView content) {
    const auto file = volume->create_file(kRootInode, name, 0755, 0, 0, {}).value();
    EXPECT_TRUE(volume->write(file, 0, content, {}).ok());
    return file;
  }
  PatchTable table() {
    const auto folder = volume->lookup(kRootInode, kPatchFolder).value();
    const auto file = volume->lookup(folder, kPatchFile).value();
    Bytes bytes(volume->attributes(file).value().size);
    EXPECT_EQ(volume->read(file, 0, bytes).value(), bytes.size());
    return decode_patch_table(bytes).value();
  }
};

Bytes two_sites() {
  return read_file(CLOISTER_SOURCE_DIR "/src/sgx/corpus/patch_scan/two_sites", 4096).value();
}

TEST(PatchBuild, NamesProgramsByInodeAndEachOnce) {
  Root root;
  root.add("text", as_bytes("#!/bin/sh\n"));
  const auto program = root.add("program", two_sites());
  EXPECT_TRUE(root.volume->link(program, kRootInode, "another name", {}).ok());
  EXPECT_TRUE(add_patch_table(*root.volume, {}).ok());
  const PatchTable table = root.table();
  ASSERT_EQ(table.files.size(), 1u);
  EXPECT_EQ(table.files[0].inode, program);
  ASSERT_EQ(table.files[0].rows.size(), 2u);
  EXPECT_EQ(table.files[0].rows[0].length, 5);
  EXPECT_EQ(table.files[0].rows[1].length, 3);
}

TEST(PatchBuild, AnImageWithoutProgramsGetsAnEmptyTable) {
  Root root;
  EXPECT_TRUE(add_patch_table(*root.volume, {}).ok());
  EXPECT_TRUE(root.table().files.empty());
}

TEST(PatchBuild, ATableOfTheUserIsRefused) {
  Root root;
  EXPECT_TRUE(add_patch_table(*root.volume, {}).ok());
  EXPECT_FALSE(add_patch_table(*root.volume, {}).ok());
}

TEST(PatchBuild, EqualVolumesGetEqualRoots) {
  const auto build = [] {
    Root root;
    root.add("program", two_sites());
    EXPECT_TRUE(add_patch_table(*root.volume, {}).ok());
    EXPECT_TRUE(root.volume->commit().ok());
    return root.volume->root();
  };
  EXPECT_EQ(build(), build());
}

}  // namespace
}  // namespace cloister::sgx

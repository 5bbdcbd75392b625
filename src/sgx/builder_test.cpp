// The builder's border to the host's file system: what it replaces, how, and what it says about paths.
#include "sgx/builder.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "base/files.h"
#include "sgx/elf.h"
#include "sgx/elf_test_support.h"
#include "sgx/root_plan.h"
#include "sgx/sim_platform.h"

namespace cloister::sgx {
namespace {

namespace fs = std::filesystem;

// The smallest kernel that plan_image takes: one page of code.
Bytes tiny_kernel() {
  Bytes out(4096);
  const Elf64_Ehdr header = elf_header(1);
  const Elf64_Phdr code{PT_LOAD, PF_R | PF_X, 0, 0, 0, out.size(), out.size(), 4096};
  std::memcpy(out.data(), &header, sizeof(header));
  std::memcpy(out.data() + sizeof(header), &code, sizeof(code));
  return out;
}

class Builder : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "builder_test.XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    ASSERT_TRUE(write_public_file(folder_ / "kernel.elf", tiny_kernel()).ok());
    ASSERT_TRUE(write_public_file(folder_ / "agent.elf", as_bytes("agent")).ok());
    ASSERT_TRUE(write_public_file(folder_ / "program", as_bytes("program")).ok());
    ::chmod((folder_ / "program").c_str(), 0755);
    options_.copies = {{folder_ / "program", "/program"}};
    options_.entry = "/program";
    options_.kernel = folder_ / "kernel.elf";
    options_.agent = folder_ / "agent.elf";
    options_.signing_key = folder_ / "key.pem";
    options_.manifest.name = "test";
  }
  void TearDown() override { fs::remove_all(folder_); }
  size_t names() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
  BuildOptions options_;
};

TEST_F(Builder, ReplacesAnImageAndLeavesNothingBehind) {
  const fs::path out = folder_ / "image";
  const auto first = build_image(options_, out);
  ASSERT_TRUE(first.ok()) << first.error().message();
  EXPECT_TRUE(load_image(out).ok());
  const size_t before = names();
  options_.manifest.threads = 3;
  const auto second = build_image(options_, out.string() + "/");
  ASSERT_TRUE(second.ok()) << second.error().message();
  EXPECT_NE(first->mrenclave, second->mrenclave);
  EXPECT_EQ(measure_folder(out).value(), second->mrenclave);
  EXPECT_EQ(names(), before);
}

TEST_F(Builder, KeepsAFolderWhoseManifestIsSomethingElse) {
  const fs::path out = folder_ / "work";
  ASSERT_TRUE(fs::create_directory(out));
  ASSERT_TRUE(write_public_file(out / "manifest", as_bytes("[package]\nname = \"thesis\"\n")).ok());
  ASSERT_TRUE(write_public_file(out / "thesis", as_bytes("three years")).ok());
  const auto built = build_image(options_, out);
  ASSERT_FALSE(built.ok());
  EXPECT_EQ(built.error().code(), Code::InvalidArgument);
  EXPECT_TRUE(fs::exists(out / "thesis"));
}

TEST_F(Builder, ThereIsAnImageAtEveryMomentOfAReplacement) {
  const fs::path out = folder_ / "image";
  ASSERT_TRUE(build_image(options_, out).ok());
  std::atomic<bool> done = false;
  std::atomic<unsigned> missing = 0;
  std::thread reader([&] {
    const std::string path = ImageFiles{out}.sigstruct();
    while (!done) missing += ::access(path.c_str(), F_OK) != 0;
  });
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(build_image(options_, out).ok());
  done = true;
  reader.join();
  EXPECT_EQ(missing, 0u);
}

TEST_F(Builder, SaysThatAPathMayNotBeEntered) {
  const fs::path closed = folder_ / "closed";
  ASSERT_TRUE(fs::create_directory(closed));
  ::chmod(closed.c_str(), 0);
  const bool root = ::geteuid() == 0;
  ASSERT_EQ(root ? ::seteuid(65534) : 0, 0);  // root enters every folder
  RootPlan plan;
  const auto added = plan.add_host_path((closed / "file").string());
  options_.root = closed / "root";
  const auto built = build_image(options_, folder_ / "image");
  const auto key = SigningKey::load_or_create(closed / "key.pem");
  const auto measured = measure_folder(closed / "image");
  const auto machine = SimPlatform::open(closed / "machine");
  ASSERT_EQ(root ? ::seteuid(0) : 0, 0);
  ::chmod(closed.c_str(), 0700);
  ASSERT_FALSE(added.ok());
  EXPECT_EQ(added.error().code(), Code::Denied);
  EXPECT_FALSE(built.ok());
  EXPECT_FALSE(key.ok());
  EXPECT_FALSE(measured.ok());
  EXPECT_FALSE(machine.ok());
}

TEST_F(Builder, SaysThatALinkLoopsInsteadOfThatNothingIsThere) {
  fs::create_symlink(folder_ / "loop", folder_ / "loop");
  options_.root = folder_ / "loop" / "root";
  const auto built = build_image(options_, folder_ / "image");
  ASSERT_FALSE(built.ok());
  RootPlan plan;
  const auto added = plan.add_host_path("/" + std::string(300, 'n'));
  ASSERT_FALSE(added.ok());
  EXPECT_EQ(added.error().code(), Code::Unavailable);  // ENAMETOOLONG, not ENOENT
}

// Section headers are the file's author's: strings must lie in it.
// Debian's /bin is a link to usr/bin: both names of a program mean one file, whichever comes first.
TEST_F(Builder, PathsFollowTheLinksOfTheImage) {
  const fs::path host = folder_ / "host";
  fs::create_directories(host);
  fs::create_symlink("usr/bin", host / "bin");
  fs::create_symlink("elsewhere", host / "sbin");
  RootPlan plan;
  plan.merge_usr_as(host);
  ASSERT_TRUE(plan.add_content("/bin/first", "1").ok());
  ASSERT_TRUE(plan.add_content("/usr/bin/second", "2").ok());
  ASSERT_TRUE(plan.add_content("/sbin/third", "3").ok());
  ASSERT_TRUE(plan.add_content("/usr/lib/fourth", "4").ok());
  ASSERT_TRUE(plan.add_merged_links().ok());
  EXPECT_EQ(plan.nodes().at("/bin").text, "usr/bin");
  EXPECT_EQ(plan.nodes().at("/usr/bin/first").text, "1");
  EXPECT_EQ(plan.find("/bin/second")->text, "2");
  EXPECT_EQ(plan.nodes().at("/sbin/third").text, "3");
  EXPECT_FALSE(plan.nodes().contains("/lib"));  // the host has no such link
  EXPECT_FALSE(plan.add_content("/bin/first", "another").ok());
  // Links that lead in a circle.
  ASSERT_TRUE(plan.add_link("/a", "b").ok());
  ASSERT_TRUE(plan.add_link("/b", "a").ok());
  EXPECT_FALSE(plan.add_content("/a/file", "5").ok());
  // Behind a file there is nothing.
  EXPECT_FALSE(plan.add_content("/bin/first/below", "6").ok());
}

TEST(Elf, IgnoresAStringTableThatIsNotInTheFile) {
  Bytes file = tiny_kernel();
  const char names[] = "\0.symtab\0.strtab";
  constexpr size_t kNames = 512, kSymbols = 1024, kHeaders = 2048;
  std::memcpy(file.data() + kNames, names, sizeof(names));
  const Elf64_Sym symbol{1, 0, 0, 1, 0x100, 8};
  std::memcpy(file.data() + kSymbols, &symbol, sizeof(symbol));
  const Elf64_Shdr headers[] = {
      {0, SHT_STRTAB, 0, 0, kNames, sizeof(names), 0, 0, 1, 0},
      {1, SHT_SYMTAB, 0, 0, kSymbols, sizeof(symbol), 0, 0, 8, sizeof(symbol)},
      {9, SHT_NOBITS, 0, 0, uint64_t{1} << 46, uint64_t{1} << 20, 0, 0, 1, 0},
  };
  std::memcpy(file.data() + kHeaders, headers, sizeof(headers));
  Elf64_Ehdr header;
  std::memcpy(&header, file.data(), sizeof(header));
  header.e_shoff = kHeaders;
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 3;
  std::memcpy(file.data(), &header, sizeof(header));
  const ElfFile elf = parse_elf(file, "test").value();
  const auto symbols = elf.symbols(elf.sections());
  ASSERT_EQ(symbols.size(), 1u);
  EXPECT_EQ(symbols[0].name, "");
  EXPECT_EQ(symbols[0].address, 0x100u);
}

}  // namespace
}  // namespace cloister::sgx

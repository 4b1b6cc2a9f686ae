// `turnpike export` against a server of the API: what it writes, and what it leaves alone.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "config/load.h"
#include "control/cli/environment.h"
#include "control/cli/output_file.h"
#include "control/cli/secret_files.h"
#include "tests/unit/api/live_server.h"

namespace {

std::vector<std::string> synced;

void note_sync(int file) {
  const std::filesystem::path link = "/proc/self/fd/" + std::to_string(file);
  synced.push_back(std::filesystem::read_symlink(link));
}

}  // namespace

// The program's own stand before those of the C library, so that what is synced can be seen.
extern "C" int fsync(int file) {
  note_sync(file);
  return static_cast<int>(::syscall(SYS_fsync, file));
}
extern "C" int syncfs(int file) noexcept {
  note_sync(file);
  return static_cast<int>(::syscall(SYS_syncfs, file));
}

namespace turnpike::cli {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& file) {
  std::ifstream stream(file);
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

class ExportCommand : public testing::Test {
 protected:
  // LiveServer adds three peers; alice gets a preshared key.
  ExportCommand() {
    server_.on_thread([this] {
      PresharedKey key;
      key.bytes()[0] = 77;
      server_.backend.apply({{.op = state::Op::PeerSet,
                              .tunnel = "wg0",
                              .peer = std::string("alice"),
                              .patch = state::PeerPatch{.preshared_key = key}}});
    });
  }

  int run(std::vector<std::string> arguments) {
    std::istringstream in;
    std::ostringstream out, err;
    Environment environment{.in = in, .out = out, .err = err, .socket = server_.path()};
    arguments.insert(arguments.begin(), "export");
    const int status = cli::run(arguments, environment);
    out_ = out.str();
    err_ = err.str();
    return status;
  }
  size_t entries(const fs::path& folder) {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder), {}));
  }

  api::LiveServer server_;
  fs::path folder_ = server_.directory();
  std::string out_, err_;
};

TEST_F(ExportCommand, WritesAConfigurationThatLoads) {
  const fs::path keys = folder_ / "new" / "keys", file = folder_ / "new" / "turnpike.yaml";
  fs::create_directory(folder_ / "new");
  ASSERT_EQ(run({"--output", file, "--secrets", keys}), kDone) << err_;
  EXPECT_EQ(out_ + err_, "");
  const auto loaded = config::load_config(file);
  ASSERT_TRUE(loaded) << config::to_string(loaded.error().front());
  const config::Tunnel& tunnel = loaded->tunnels.at(0);
  EXPECT_EQ(tunnel.private_key.bytes()[0], 8);
  ASSERT_EQ(tunnel.peers.size(), 3u);
  EXPECT_EQ(tunnel.peers[0].name, "alice");
  EXPECT_EQ(tunnel.peers[0].preshared_key->bytes()[0], 77);
  EXPECT_EQ(tunnel.peers[0].allowed_ips.size(), 2u);
  // Both can be moved together.
  EXPECT_NE(text_of(file).find("private_key_file: keys/wg0.key\n"), std::string::npos);
  constexpr auto kOwnerOnly = fs::perms::owner_read | fs::perms::owner_write;
  EXPECT_EQ(fs::status(keys).permissions(), fs::perms::owner_all);
  EXPECT_EQ(entries(keys), 2u);
  for (const auto& entry : fs::directory_iterator(keys)) {
    EXPECT_EQ(entry.status().permissions(), kOwnerOnly);
  }
  EXPECT_EQ(entries(folder_ / "new"), 2u);  // nothing temporary is left
}

TEST_F(ExportCommand, HasTheKeysOnTheDiskBeforeTheConfigurationAndThatUnderItsName) {
  const fs::path folder = fs::canonical(folder_);
  synced.clear();
  ASSERT_EQ(run({"--output", folder / "t.yaml", "--secrets", folder / "keys"}), kDone) << err_;
  ASSERT_EQ(synced.size(), 3u);
  EXPECT_EQ(synced[0], folder / "keys");
  EXPECT_TRUE(synced[1].starts_with((folder / "t.yaml.").string())) << synced[1];
  EXPECT_EQ(synced[2], folder);
}

TEST_F(ExportCommand, WritesToTheStandardOutputAndNotesWhatIsMissing) {
  ASSERT_EQ(run({}), kDone) << err_;
  EXPECT_TRUE(out_.starts_with("# What turnpiked ran at generation 3")) << out_;
  EXPECT_NE(out_.find("10.8.0.3/32"), std::string::npos);
  EXPECT_TRUE(err_.starts_with("note: 2 keys were given inline or at run time")) << err_;
  const std::string keys = folder_ / "keys";
  ASSERT_EQ(run({"--secrets", keys + "/"}), kDone) << err_;
  EXPECT_NE(out_.find("private_key_file: " + keys + "/wg0.key\n"), std::string::npos) << out_;
  EXPECT_EQ(err_, "");
}

TEST_F(ExportCommand, ReplacesNothingUnlessForced) {
  const fs::path keys = folder_ / "keys", file = folder_ / "turnpike.yaml";
  std::ofstream(file) << "mine\n";
  EXPECT_EQ(run({"--output", file, "--secrets", keys}), kError);
  EXPECT_NE(err_.find("turnpike.yaml is there already; --force replaces it"), std::string::npos);
  EXPECT_FALSE(fs::exists(keys));
  EXPECT_EQ(text_of(file), "mine\n");

  ASSERT_EQ(::mkdir(keys.c_str(), 0755), 0);
  std::string alice = "wg0-";
  for (size_t i = 0; i < kKeyBytes; ++i) alice += "01";
  alice += ".psk";
  std::ofstream(keys / alice) << "mine\n";
  fs::remove(file);
  EXPECT_EQ(run({"--output", file, "--secrets", keys}), kError);
  EXPECT_NE(err_.find("File exists; --force replaces it"), std::string::npos) << err_;
  EXPECT_EQ(text_of(keys / alice), "mine\n");
  EXPECT_EQ(entries(keys), 1u);  // what was written before is gone again
  EXPECT_FALSE(fs::exists(file));

  EXPECT_EQ(run({"--secrets", keys}), kError);
  EXPECT_EQ(out_, "");  // no configuration whose keys are not there

  std::ofstream(file) << "mine\n";
  ASSERT_EQ(run({"--output", file, "--secrets", keys, "--force"}), kDone) << err_;
  EXPECT_TRUE(config::load_config(file));
  EXPECT_EQ(entries(keys), 2u);
}

TEST_F(ExportCommand, LeavesNothingBehindWhenItIsRefused) {
  server_.on_thread([this] { server_.backend.busy_exports = "others are being written"; });
  const fs::path keys = folder_ / "keys", file = folder_ / "turnpike.yaml";
  EXPECT_EQ(run({"--output", file, "--secrets", keys}), kError);
  EXPECT_NE(err_.find("others are being written"), std::string::npos) << err_;
  EXPECT_FALSE(fs::exists(keys));
  EXPECT_FALSE(fs::exists(file));
  EXPECT_EQ(run({"--output", folder_ / "nowhere" / "t.yaml"}), kError);
  EXPECT_EQ(run({"nonsense"}), kUsage);
}

TEST(SecretDirectory, TakesNoNamesFromElsewhere) {
  std::string pattern = (fs::temp_directory_path() / "turnpike-secrets-XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const fs::path folder = pattern;
  {
    auto directory = SecretDirectory::open(folder / "keys", false);
    ASSERT_TRUE(directory) << directory.error();
    EXPECT_FALSE(directory->write("../wg0.key", "x"));
    EXPECT_FALSE(directory->write("/tmp/wg0.key", "x"));
    EXPECT_FALSE(directory->write("..", "x"));
    EXPECT_FALSE(directory->write("", "x"));
    EXPECT_TRUE(directory->write("wg0.key", "x"));
    EXPECT_TRUE(directory->write(".wg1.key", "x"));  // a tunnel may be called so
    EXPECT_EQ(directory->files(), 2u);
  }
  EXPECT_FALSE(fs::exists(folder / "keys"));  // it was not kept
  std::ofstream(folder / "file") << "x";
  EXPECT_FALSE(SecretDirectory::open(folder / "file", true));
  fs::remove_all(folder);
}

TEST(SecretDirectory, WritesNoKeyOverAnotherOfTheSameRun) {
  std::string pattern = (fs::temp_directory_path() / "turnpike-secrets-XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const fs::path folder = pattern;
  std::ofstream(folder / "wg0.key") << "of an earlier run\n";
  {
    auto directory = SecretDirectory::open(folder, true);
    ASSERT_TRUE(directory) << directory.error();
    EXPECT_TRUE(directory->write("wg0.key", "x"));
    const auto again = directory->write("wg0.key", "y");
    ASSERT_FALSE(again);
    EXPECT_TRUE(again.error().ends_with("wg0.key: two keys have this name")) << again.error();
  }
  EXPECT_EQ(text_of(folder / "wg0.key"), "x\n");
  fs::remove_all(folder);
}

TEST(SecretDirectory, IsOneThatNobodyElseMayWriteTo) {
  std::string pattern = (fs::temp_directory_path() / "turnpike-secrets-XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const fs::path keys = fs::path(pattern) / "keys", link = fs::path(pattern) / "link";
  fs::create_directory(keys);
  fs::create_symlink("keys", link);
  const auto error = [&](const fs::path& path) {
    auto directory = SecretDirectory::open(path, true);
    return directory ? std::string() : directory.error();
  };
  for (const mode_t mode : {0775, 0757, 01777}) {
    ASSERT_EQ(::chmod(keys.c_str(), mode), 0);
    EXPECT_TRUE(error(keys).ends_with(
        "keys: others may write to this directory; chmod go-w makes it yours alone"))
        << error(keys);
    EXPECT_NE(error(link), "");
  }
  ASSERT_EQ(::chmod(keys.c_str(), 0755), 0);
  EXPECT_EQ(error(keys), "");
  EXPECT_EQ(error(link), "");
  EXPECT_TRUE(fs::exists(keys));
  constexpr uid_t kAnother = 12'345;
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(keys.c_str(), kAnother, kAnother), 0);
    EXPECT_TRUE(error(keys).ends_with("keys: is the directory of another user (12345)"))
        << error(keys);
  }
  fs::remove_all(pattern);
}

TEST(OutputFile, LosesToWhoeverWasFaster) {
  std::string pattern = (fs::temp_directory_path() / "turnpike-output-XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const fs::path file = fs::path(pattern) / "t.yaml";
  {
    auto output = OutputFile::open(file, false);
    ASSERT_TRUE(output) << output.error();
    output->write("ours\n");
    std::ofstream(file) << "theirs\n";
    EXPECT_FALSE(output->finish());
  }
  EXPECT_EQ(text_of(file), "theirs\n");
  EXPECT_EQ(std::distance(fs::directory_iterator(pattern), {}), 1);
  fs::remove_all(pattern);
}

}  // namespace
}  // namespace turnpike::cli

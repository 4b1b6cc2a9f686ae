// `turnpike export` against a server of the API: what it writes, and what it leaves alone.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "config/load.h"
#include "control/cli/environment.h"
#include "control/cli/output_file.h"
#include "control/cli/secret_files.h"
#include "tests/unit/api/live_server.h"

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

  fs::create_directory(keys);
  std::ofstream(keys / "wg0-0101010101010101.psk") << "mine\n";
  fs::remove(file);
  EXPECT_EQ(run({"--output", file, "--secrets", keys}), kError);
  EXPECT_NE(err_.find("File exists; --force replaces it"), std::string::npos) << err_;
  EXPECT_EQ(text_of(keys / "wg0-0101010101010101.psk"), "mine\n");
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

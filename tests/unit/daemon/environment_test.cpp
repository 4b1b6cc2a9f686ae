// What the daemon needs of the machine around it.
#include "control/daemon/environment.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>

#include "dataplane/base/limits.h"
#include "tests/unit/gone_directory.h"

namespace turnpike::daemon {
namespace {

TEST(PrepareDirectories, SaysInOneLineThatTheWorkingDirectoryIsGone) {
  const std::string kept = testing::TempDir() + "turnpike-environment";
  config::Control control;
  control.socket = kept + "/a/t.sock";
  control.state = kept + "/b/state";
  control.wg_socket_dir = kept + "/c";
  const test::GoneDirectory gone;
  const auto absolute = prepare_directories(control);
  EXPECT_TRUE(absolute) << absolute.error();
  for (std::string* path : {&control.socket, &control.state, &control.wg_socket_dir}) {
    const std::string before = *path;
    for (const char* relative : {"run/x", "x"}) {
      *path = relative;
      const auto prepared = prepare_directories(control);
      ASSERT_FALSE(prepared) << relative;
      EXPECT_TRUE(prepared.error().starts_with("control.")) << prepared.error();
      EXPECT_NE(prepared.error().find("working directory"), std::string::npos) << prepared.error();
      EXPECT_EQ(prepared.error().find('\n'), std::string::npos);
    }
    *path = before;
  }
  std::filesystem::remove_all(kept);
}

class OpenFiles : public testing::Test {
 protected:
  OpenFiles() { EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0); }
  ~OpenFiles() override { setrlimit(RLIMIT_NOFILE, &before_); }
  static Result<void, std::string> check(const config::Config& config, rlim_t allowed) {
    rlimit limit;
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = allowed;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return check_open_files(config);
  }

 private:
  rlimit before_{};
};

TEST_F(OpenFiles, AreEnoughOrTheErrorSaysWhatWouldDo) {
  config::Config config;
  config.ports.resize(2);
  config.tunnels.resize(1);
  config.dataplane.workers = {1};
  EXPECT_TRUE(check(config, 1'024));
  const auto few = check(config, 12);
  ASSERT_FALSE(few);
  EXPECT_EQ(few.error(),
            "this process may open 12 files (RLIMIT_NOFILE), and this configuration needs 102; "
            "allow at least 1024 (ulimit -n 1024, or LimitNOFILE=1024 in the systemd unit)");
  EXPECT_FALSE(check(config, 101));
  EXPECT_TRUE(check(config, 102));
  config.dataplane.workers.push_back(2);
  EXPECT_FALSE(check(config, 102));
}

TEST_F(OpenFiles, AreEnoughForTheLargestConfigurationWhereTheErrorSaysSo) {
  config::Config config;
  config.ports.resize(kMaxPorts);
  config.tunnels.resize(kMaxTunnels);
  config.dataplane.workers.resize(kMaxWorkers);
  EXPECT_TRUE(check(config, 1'024));
}

}  // namespace
}  // namespace turnpike::daemon

// What the daemon needs of the machine around it.
#include "control/daemon/environment.h"

#include <gtest/gtest.h>

#include <filesystem>

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

}  // namespace
}  // namespace turnpike::daemon

#include "control/daemon/failures.h"

#include <gtest/gtest.h>

namespace turnpike::daemon {
namespace {

TEST(Failures, EachKindIsToldOnceUntilACommitWorks) {
  Failures failures;
  EXPECT_FALSE(failures.end());
  EXPECT_TRUE(failures.begin("memory is short"));
  EXPECT_FALSE(failures.begin("memory is short"));
  EXPECT_TRUE(failures.begin("the disk is full")) << "another one behind the first";
  EXPECT_FALSE(failures.begin("memory is short"));
  EXPECT_FALSE(failures.begin("the disk is full"));
  EXPECT_TRUE(failures.end());
  EXPECT_FALSE(failures.end());
  EXPECT_TRUE(failures.begin("the disk is full")) << "anew";
}

TEST(Failures, KindsAreBounded) {
  Failures failures;
  size_t told = 0;
  for (size_t i = 0; i < 3 * Failures::kToldMax; ++i) {
    if (failures.begin("failure " + std::to_string(i))) ++told;
  }
  EXPECT_EQ(told, Failures::kToldMax);
  EXPECT_TRUE(failures.end());
}

}  // namespace
}  // namespace turnpike::daemon

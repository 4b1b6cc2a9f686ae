#include "dataplane/base/numa.h"

#include <gtest/gtest.h>

#include <fstream>

namespace turnpike {
namespace {

// As the kernel writes it: "0", "0-1".
std::string nodes_with_memory() {
  std::ifstream file("/sys/devices/system/node/has_memory");
  std::string list;
  std::getline(file, list);
  return list;
}

TEST(Numa, MemoryOfANodeThatIsNotThereIsAnErrorThatSaysWhichAre) {
  for (const int nowhere : {-1, 63, 64, 1'000'000}) {
    const auto placed = can_place_memory(nowhere);
    ASSERT_FALSE(placed);
    const std::string& line = placed.error();
    EXPECT_TRUE(line.starts_with("NUMA node " + std::to_string(nowhere) + ": ")) << line;
    EXPECT_EQ(line.find('\n'), std::string::npos);
    if (line.find("cannot be placed") != std::string::npos) continue;  // not allowed to us at all
    EXPECT_NE(line.find("there is no such node with memory for this process"), std::string::npos)
        << line;
    if (nodes_with_memory() == "0" && can_place_memory(0)) {
      EXPECT_TRUE(line.ends_with("; those with memory: 0")) << line;
    }
  }
}

TEST(Numa, MemoryCanBePlacedOnANodeThatIsThere) {
  const auto nowhere = can_place_memory(63);
  const auto placed = can_place_memory(0);
  if (nowhere || nowhere.error().find("cannot be placed") == std::string::npos) {
    EXPECT_TRUE(placed) << placed.error();
  } else {
    EXPECT_FALSE(placed);  // the same reason
  }
}

}  // namespace
}  // namespace turnpike

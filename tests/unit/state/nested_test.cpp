#include "control/state/nested.h"

#include <algorithm>

#include "tests/unit/state/state_fixture.h"

namespace turnpike::state {
namespace {

class NestedPrefixes : public StateTest {
 protected:
  std::vector<std::string> warn(std::vector<Edit> edits, size_t limit = 100) {
    const auto change = plan(state_, {.edits = std::move(edits)});
    std::vector<std::string> lines;
    if (!change) return {text(change.error())};
    for (const Nested& n : nested_prefixes(state_, *change, limit)) lines.push_back(describe(n));
    return lines;
  }
};

TEST_F(NestedPrefixes, AreFoundInBothDirectionsAndOnlyWhereTheChangeMakesThem) {
  commit({add("a", 1, {"10.0.0.0/8", "10.1.0.0/16", "10.2.3.0/24"}), add("b", 2, {"10.9.0.0/16"})});
  using Lines = std::vector<std::string>;
  EXPECT_EQ(warn({claim("b", {"10.1.1.0/24"})}),
            (Lines{"10.1.1.0/24 of b lies inside 10.1.0.0/16 of a"}));
  EXPECT_EQ(warn({claim("b", {"10.2.0.0/16"})}),
            (Lines{"10.2.0.0/16 of b lies inside 10.0.0.0/8 of a",
                   "10.2.3.0/24 of a lies inside 10.2.0.0/16 of b"}));
  EXPECT_EQ(warn({claim("a", {"10.1.1.0/24"}), claim("b", {"11.0.0.0/8", "fd00::/8"})}), Lines{});
  auto lines = warn({move("a", "b", {"10.0.0.0/8"})});
  std::ranges::sort(lines);
  EXPECT_EQ(lines, (Lines{"10.1.0.0/16 of a lies inside 10.0.0.0/8 of b",
                          "10.2.3.0/24 of a lies inside 10.0.0.0/8 of b"}));
  EXPECT_EQ(warn({move("a", "b", {"10.0.0.0/8"})}, 1).size(), 1u);
  lines = warn({release("a", {"10.0.0.0/8"}), add("n", 3, {"10.0.0.0/9"})});
  std::ranges::sort(lines);
  EXPECT_EQ(lines, (Lines{"10.1.0.0/16 of a lies inside 10.0.0.0/9 of n",
                          "10.2.3.0/24 of a lies inside 10.0.0.0/9 of n",
                          "10.9.0.0/16 of b lies inside 10.0.0.0/9 of n"}));
}

}  // namespace
}  // namespace turnpike::state

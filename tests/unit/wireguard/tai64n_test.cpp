#include "dataplane/wireguard/tai64n.h"

#include <gtest/gtest.h>

#include "dataplane/base/text.h"

namespace turnpike::wireguard {
namespace {

TEST(Tai64n, IsTwelveBytesBigEndianFromTheTaiEpoch) {
  EXPECT_EQ(base::to_hex(to_tai64n({0}).bytes), "400000000000000a00000000");
  EXPECT_EQ(base::to_hex(to_tai64n({1'700'000'000'999'999'999}).bytes), "400000006553f10a3b9ac9ff");
}

TEST(Tai64n, ComparesAsTimesDo) {
  EXPECT_LT(Tai64n{}, to_tai64n({0}));
  EXPECT_LT(to_tai64n({999'999'999}), to_tai64n({1'000'000'000}));
  EXPECT_LT(to_tai64n({255'000'000'000}), to_tai64n({256'000'000'000}));
}

TEST(NextTai64n, IsAlignedDownToOneFiftiethOfASecond) {
  WallTime last_sent;
  EXPECT_EQ(next_tai64n({1'000'000'039'999'999}, last_sent), to_tai64n({1'000'000'020'000'000}));
  EXPECT_EQ(last_sent.nanoseconds, 1'000'000'020'000'000u);
}

TEST(NextTai64n, OnlyGrowsAlsoWhenTheClockStandsOrGoesBack) {
  WallTime last_sent;
  Tai64n before = next_tai64n({50'000'000'000}, last_sent);
  for (const uint64_t wall : std::initializer_list<uint64_t>{50'000'000'000, 50'000'000'001,
                                                             49'000'000'000, 0, 50'019'999'999}) {
    const Tai64n next = next_tai64n({wall}, last_sent);
    EXPECT_GT(next, before) << wall;
    before = next;
  }
  // And it falls back to the clock once that is ahead again.
  EXPECT_EQ(next_tai64n({60'000'000'000}, last_sent), to_tai64n({60'000'000'000}));
}

TEST(NextTai64n, GoesOnAfterAMarkThatIsNotAligned) {
  WallTime mark{70'000'000'001};
  EXPECT_GT(next_tai64n({10'000'000'000}, mark), to_tai64n({70'000'000'001}));
}

}  // namespace
}  // namespace turnpike::wireguard

#include "dataplane/publish/retirement.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace turnpike::publish {
namespace {

TEST(Retirement, FreesInOrderAndOnlyWhatEveryReaderHasPassed) {
  Epoch epoch;
  EpochReader& reader = epoch.add_reader();
  Retirement<int> retired(epoch);
  std::vector<int> freed;
  const auto free = [&freed](int object) { freed.push_back(object); };

  reader.online();
  retired.add(1);
  retired.add(2);
  EXPECT_EQ(retired.collect(free), 2u);
  EXPECT_TRUE(freed.empty());
  reader.begin();
  retired.add(3);
  EXPECT_EQ(retired.collect(free), 1u);
  EXPECT_EQ(freed, (std::vector{1, 2}));
  EXPECT_EQ(retired.collect(free), 1u);
  reader.offline();
  EXPECT_EQ(retired.collect(free), 0u);
  EXPECT_EQ(freed, (std::vector{1, 2, 3}));
}

TEST(Retirement, BudgetBoundsOneCollection) {
  Epoch epoch;
  Retirement<int> retired(epoch);
  for (int i = 0; i < 5; ++i) retired.add(i);
  int freed = 0;
  EXPECT_EQ(retired.collect([&freed](int) { ++freed; }, 2), 3u);
  EXPECT_EQ(freed, 2);
  EXPECT_EQ(retired.collect([&freed](int) { ++freed; }, 0), 3u);
  EXPECT_EQ(freed, 2);
}

TEST(Retirement, TakesObjectsThatCanOnlyBeMovedAndFreesEachOnce) {
  Epoch epoch;
  Retirement<std::shared_ptr<int>> retired(epoch);
  auto object = std::make_shared<int>(7);
  std::weak_ptr<int> alive = object;
  retired.add(std::move(object));
  EXPECT_FALSE(alive.expired());
  retired.collect([](std::shared_ptr<int> freed) { EXPECT_EQ(*freed, 7); });
  EXPECT_TRUE(alive.expired());
}

TEST(Retirement, FreeingMayRetireFurtherObjects) {
  Epoch epoch;
  Retirement<int> retired(epoch);
  retired.add(3);
  std::vector<int> freed;
  while (retired.size() > 0) {
    retired.collect([&](int object) {
      freed.push_back(object);
      if (object > 0) retired.add(object - 1);
    });
  }
  EXPECT_EQ(freed, (std::vector{3, 2, 1, 0}));
}

}  // namespace
}  // namespace turnpike::publish

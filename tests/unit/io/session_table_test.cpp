#include "dataplane/io/session_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace turnpike::io {
namespace {

// Addresses as keypairs have them. They and the sessions are only names here.
const uint8_t* key_at(uint64_t i) {
  return reinterpret_cast<const uint8_t*>(0x7f00'0000'0008 + i * 1'152);
}
void* session_at(uint64_t i) { return reinterpret_cast<void*>(0x1000 + i * 64); }

TEST(SessionTable, SaysWhatAMapSays) {
  std::mt19937_64 random(7);
  SessionTable table(512);
  std::map<uint64_t, uint64_t> model;
  for (int step = 0; step < 200'000; ++step) {
    const uint64_t key = random() % 1'500;
    const auto known = model.find(key);
    ASSERT_EQ(table.find(key_at(key)), known == model.end() ? nullptr : session_at(known->second));
    if (known != model.end()) {
      if (random() % 2 == 0) continue;
      ASSERT_EQ(table.remove(key_at(key)), session_at(known->second));
      model.erase(known);
    } else if (table.add(key_at(key), session_at(static_cast<uint64_t>(step)))) {
      model.emplace(key, step);
    } else {
      ASSERT_EQ(model.size(), 512u);
    }
    ASSERT_EQ(table.size(), model.size());
  }
}

TEST(SessionTable, KnowsNothingOfKeysThatWereNotAddedOrAreRemoved) {
  SessionTable table(4);
  EXPECT_EQ(table.find(key_at(1)), nullptr);
  EXPECT_EQ(table.remove(key_at(1)), nullptr);
  ASSERT_TRUE(table.add(key_at(1), session_at(1)));
  EXPECT_EQ(table.remove(key_at(1)), session_at(1));
  EXPECT_EQ(table.find(key_at(1)), nullptr);
  EXPECT_EQ(table.remove(key_at(1)), nullptr);
}

TEST(SessionTable, TakesAsManyAsItIsFor) {
  SessionTable table(3);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_TRUE(table.add(key_at(i), session_at(i)));
  EXPECT_FALSE(table.add(key_at(3), session_at(3)));
  table.remove(key_at(1));
  EXPECT_TRUE(table.add(key_at(3), session_at(3)));
}

}  // namespace
}  // namespace turnpike::io

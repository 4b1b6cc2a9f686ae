#include "dataplane/publish/slot_ring.h"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>

#include "dataplane/publish/rings.h"
#include "tests/support/sim_random.h"
#include "tests/support/sim_seeds.h"
#include "tests/support/sim_threads.h"

namespace turnpike::publish {
namespace {

struct Header {
  uint64_t number;
};
using Ring = SlotRing<Header>;

bool push(Ring& ring, uint64_t number) {
  Ring::Slot* slot = ring.try_begin();
  if (slot == nullptr) return false;
  slot->header.number = number;
  slot->length_bytes = ring.slot_bytes();
  std::memset(slot->data(), static_cast<int>(number & 0xff), ring.slot_bytes());
  ring.commit();
  return true;
}

// The number in front, whose bytes must all be its own; the slot is taken out.
uint64_t take(Ring& ring) {
  const Ring::Slot* slot = ring.front();
  CHECK(slot != nullptr);
  const uint64_t number = slot->header.number;
  EXPECT_EQ(slot->length_bytes, ring.slot_bytes());
  for (uint32_t i = 0; i < slot->length_bytes; ++i) {
    if (slot->data()[i] != static_cast<uint8_t>(number)) {
      ADD_FAILURE() << "byte " << i << " of " << number << " is another datagram's";
      break;
    }
  }
  ring.pop();
  return number;
}

TEST(SlotRing, GivesBackInOrderWhatWasPutIn) {
  SystemPages pages;
  Ring ring(pages, 8, 100);
  EXPECT_EQ(ring.front(), nullptr);
  for (uint64_t i = 0; i < 5; ++i) EXPECT_TRUE(push(ring, i));
  EXPECT_EQ(ring.waiting(), 5u);
  for (uint64_t i = 0; i < 5; ++i) EXPECT_EQ(take(ring), i);
  EXPECT_EQ(ring.front(), nullptr);
  EXPECT_EQ(ring.waiting(), 0u);
}

TEST(SlotRing, SaysFullAtItsLastSlotAndTakesAgainAfterOnePop) {
  SystemPages pages;
  Ring ring(pages, 4, 16);
  for (uint64_t i = 0; i < 4; ++i) EXPECT_TRUE(push(ring, i));
  EXPECT_FALSE(push(ring, 99));
  EXPECT_EQ(ring.waiting(), 4u);
  EXPECT_EQ(take(ring), 0u);
  EXPECT_TRUE(push(ring, 4));
  EXPECT_FALSE(push(ring, 99));
  for (uint64_t i = 1; i <= 4; ++i) EXPECT_EQ(take(ring), i);
}

TEST(SlotRing, SlotIsNotSeenBeforeItsCommit) {
  SystemPages pages;
  Ring ring(pages, 4, 16);
  Ring::Slot* slot = ring.try_begin();
  ASSERT_NE(slot, nullptr);
  EXPECT_EQ(ring.front(), nullptr);
  EXPECT_EQ(ring.try_begin(), slot);  // given up and begun again
  slot->header.number = 1;
  slot->length_bytes = 0;
  ring.commit();
  EXPECT_EQ(ring.front()->header.number, 1u);
}

TEST(SlotRing, SlotsDoNotOverlapAndTheirHeadersAreAligned) {
  SystemPages pages;
  for (const uint32_t slot_bytes : {1u, 64u, 1'514u, 9'216u}) {
    PuntRing ring(pages, 16, slot_bytes);
    const uint8_t* last_end = nullptr;
    for (int i = 0; i < 16; ++i) {
      PuntRing::Slot* slot = ring.try_begin();
      ASSERT_NE(slot, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(slot) % alignof(PuntRing::Slot), 0u);
      EXPECT_GE(reinterpret_cast<const uint8_t*>(slot), last_end);
      last_end = slot->data() + slot_bytes;
      std::memset(slot->data(), 0xab, slot_bytes);  // the sanitizer knows the end of the mapping
      ring.commit();
    }
  }
}

TEST(SlotRing, NoMemoryLeavesItInvalid) {
  SystemPages pages(4'096);
  Ring ring(pages, 1'024, 1'024);
  EXPECT_FALSE(ring.valid());
}

TEST(SlotRing, KeepsOrderAcrossTheWrapOfItsPositions) {
  SystemPages pages;
  // Positions are 32 bits and start at `start`, so that a few steps cross the wrap.
  Ring ring(pages, 8, 16, ~uint32_t{0} - 20);
  uint64_t in = 0, out = 0;
  for (int round = 0; round < 10; ++round) {
    while (push(ring, in)) ++in;
    EXPECT_EQ(in - out, 8u);
    EXPECT_EQ(ring.waiting(), 8u);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(take(ring), out++);
    EXPECT_EQ(ring.waiting(), 3u);
  }
  while (ring.front() != nullptr) EXPECT_EQ(take(ring), out++);
  EXPECT_EQ(in, out);
  EXPECT_GT(in, 21u);  // it did wrap
}

TEST(SlotRing, AgreesWithAQueueOnRandomSteps) {
  for (const uint64_t seed : sim::seeds(8)) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    sim::Random random(seed);
    SystemPages pages;
    Ring ring(pages, 16, 8);
    std::deque<uint64_t> model;
    for (uint64_t step = 0; step < 5'000; ++step) {
      if (random.chance(0.5)) {
        const bool pushed = push(ring, step);
        ASSERT_EQ(pushed, model.size() < 16);
        if (pushed) model.push_back(step);
      } else if (model.empty()) {
        ASSERT_EQ(ring.front(), nullptr);
      } else {
        ASSERT_EQ(take(ring), model.front());
        model.pop_front();
      }
      ASSERT_EQ(ring.waiting(), model.size());
    }
  }
}

TEST(SlotRing, OneProducerAndOneConsumerLoseAndMixNothing) {
  SystemPages pages;
  Ring ring(pages, 16, 32, ~uint32_t{0} - 10'000);
  constexpr uint64_t kCount = 40'000;
  std::atomic<bool> done{false};
  sim::run_together(
      [&] {
        for (uint64_t i = 0; i < kCount; ++i) {
          while (!push(ring, i)) std::this_thread::yield();
        }
      },
      [&] {
        for (uint64_t i = 0; i < kCount; ++i) {
          while (ring.front() == nullptr) std::this_thread::yield();
          ASSERT_EQ(take(ring), i);
        }
        done.store(true);
      },
      [&] {
        while (!done.load()) {  // a stranger may look
          ASSERT_LE(ring.waiting(), ring.slots());
          std::this_thread::yield();
        }
      });
}

}  // namespace
}  // namespace turnpike::publish

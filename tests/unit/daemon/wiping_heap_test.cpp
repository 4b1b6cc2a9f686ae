// Linked with control/daemon/wiping_heap.cpp, as turnpiked is. Looks into memory that it has freed: the linker
// gives free() another name here, and what it does is told before it is done.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace {

constexpr std::string_view kSecret = "this key must not be in memory that was given back";
thread_local size_t freed_with_secret = 0, freed = 0;
thread_local bool watching = false;

}  // namespace

extern "C" void __real_free(void* memory);
extern "C" void __wrap_free(void* memory) {
  if (watching && memory != nullptr) {
    ++freed;
    const std::string_view bytes(static_cast<const char*>(memory), ::malloc_usable_size(memory));
    // Any part of it that is long enough to be no accident.
    if (bytes.find(kSecret.substr(16, 16)) != bytes.npos) ++freed_with_secret;
  }
  __real_free(memory);
}

namespace {

template <typename Work>
void expect_wiped(Work&& work) {
  freed = freed_with_secret = 0;
  watching = true;
  work();
  watching = false;
  EXPECT_GT(freed, 0u);
  EXPECT_EQ(freed_with_secret, 0u);
}

TEST(WipingHeap, LeavesNothingOfAStringThatGrewAndDied) {
  expect_wiped([] {
    std::string text;
    for (int i = 0; i < 100; ++i) text += kSecret;
  });
}

TEST(WipingHeap, LeavesNothingOfAParsedDocument) {
  const std::string document = R"({"edits":[{"preshared_key":")" + std::string(kSecret) + "\"}]}";
  expect_wiped([&] {
    const auto tree = nlohmann::json::parse(document);
    EXPECT_EQ(tree["edits"][0]["preshared_key"].get<std::string>(), kSecret);
  });
}

TEST(WipingHeap, LeavesNothingOfAlignedMemory) {
  struct alignas(64) Line {
    char bytes[64];
  };
  expect_wiped([] {
    std::vector<Line> lines(3);
    std::ranges::copy(kSecret, lines[1].bytes);
  });
}

}  // namespace

#include "dataplane/crypto/secret_pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "dataplane/crypto/system_random.h"

namespace turnpike::crypto {
namespace {

// Pages that stay readable after their release.
class KeptPages final : public PageSource {
 public:
  void* allocate(size_t bytes) noexcept override {
    return bytes <= limit ? under.allocate(bytes) : nullptr;
  }
  void release(void* pages, size_t bytes) noexcept override {
    const auto* first = static_cast<const uint8_t*>(pages);
    all_zero_at_release = std::all_of(first, first + bytes, [](uint8_t b) { return b == 0; });
    under.release(pages, bytes);
  }
  SystemPages under;
  size_t limit = size_t{1} << 20;
  bool all_zero_at_release = false;
};

// The flags that the kernel keeps for the mapping that holds `address` ("dd": not dumped, "lo":
// locked).
std::string flags_of(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    unsigned long from = 0;
    unsigned long to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) {
      const auto at = reinterpret_cast<unsigned long>(address);
      inside = from <= at && at < to;
    } else if (inside && line.starts_with("VmFlags:")) {
      return line + " ";
    }
  }
  return "";
}

TEST(SecretPages, AreNotDumpedAndLockedWhereAllowed) {
  SystemPages system;
  SecretPages secret(system);
  void* pages = secret.allocate(8192);
  ASSERT_NE(pages, nullptr);
  const std::string flags = flags_of(pages);
  EXPECT_NE(flags.find(" dd "), std::string::npos) << flags;
// The sanitizers make mlock() do nothing and say that it did.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_EQ(flags.find(" lo ") != std::string::npos, secret.all_locked()) << flags;
#endif
  secret.release(pages, 8192);
}

TEST(SecretPages, AreWipedBeforeTheyGoBack) {
  KeptPages beneath;
  SecretPages secret(beneath);
  auto* pages = static_cast<uint8_t*>(secret.allocate(8192));
  ASSERT_NE(pages, nullptr);
  std::fill(pages, pages + 8192, uint8_t{0xa5});
  secret.release(pages, 8192);
  EXPECT_TRUE(beneath.all_zero_at_release);
}

TEST(SecretPages, PassARefusalOn) {
  KeptPages beneath;
  beneath.limit = 4096;
  SecretPages secret(beneath);
  EXPECT_EQ(secret.allocate(8192), nullptr);
}

TEST(SystemRandom, FillsEveryByteAndNeverTwiceTheSame) {
  SystemRandom random;
  std::vector<uint8_t> seen(64, 0);
  uint64_t last = 0;
  for (int round = 0; round < 64; ++round) {
    std::vector<uint8_t> bytes(64, 0);
    random.fill(bytes);
    for (size_t i = 0; i < bytes.size(); ++i) seen[i] |= bytes[i];
    const uint64_t word = random.next_u64();
    EXPECT_NE(word, last);
    last = word;
  }
  EXPECT_TRUE(std::ranges::all_of(seen, [](uint8_t b) { return b != 0; }));
}

}  // namespace
}  // namespace turnpike::crypto

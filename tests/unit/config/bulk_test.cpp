// A hundred thousand peers: the loader holds the text and the values, never the whole file as a
// tree. Counts every allocation of the process, so this is a program of its own.
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>

#include "config/load.h"
#include "fixtures.h"

namespace {

std::atomic<size_t> live_bytes{0};
std::atomic<size_t> peak_bytes{0};

void* counted(size_t size) {
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  const size_t live = live_bytes += ::malloc_usable_size(memory);
  size_t peak = peak_bytes;
  while (live > peak && !peak_bytes.compare_exchange_weak(peak, live)) {
  }
  return memory;
}

void uncounted(void* memory) noexcept {
  if (memory != nullptr) live_bytes -= ::malloc_usable_size(memory);
  std::free(memory);
}

}  // namespace

void* operator new(size_t size) { return counted(size); }
void* operator new[](size_t size) { return counted(size); }
void operator delete(void* memory) noexcept { uncounted(memory); }
void operator delete[](void* memory) noexcept { uncounted(memory); }
void operator delete(void* memory, size_t) noexcept { uncounted(memory); }
void operator delete[](void* memory, size_t) noexcept { uncounted(memory); }

namespace turnpike::config {
namespace {

constexpr uint32_t kPeers = 100'000;

std::string peer_text(uint32_t number) {
  const std::string host = std::to_string(number >> 16) + "." + std::to_string(number >> 8 & 255) +
                           "." + std::to_string(number & 255);
  return "      - name: peer-" + std::to_string(number) + "\n" +
         "        public_key: " + test::key_text(1'000 + number) + "\n" +
         "        endpoint: 198.51.100.7:51820\n" + "        allowed_ips: [10." + host + "/32]\n" +
         "        persistent_keepalive: 25\n";
}

class Bulk : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "turnpike-bulk-XXXXXX").string();
    const int fd = ::mkstemp(name.data());
    ASSERT_GE(fd, 0);
    ::close(fd);
    file_ = name;
  }
  void TearDown() override { std::filesystem::remove(file_); }

  void write(const std::string& tail) {
    std::ofstream out(file_);
    out << test::small_config();
    for (uint32_t i = 0; i < kPeers; ++i) out << peer_text(i);
    out << tail;
  }

  std::filesystem::path file_;
};

TEST_F(Bulk, AHundredThousandPeersCostLittleMoreThanTheirValues) {
  write("");
  const size_t file_bytes = std::filesystem::file_size(file_);
  const size_t before = live_bytes;
  peak_bytes = before;
  const auto loaded = load_config(file_);
  const size_t peak = peak_bytes - before;
  const size_t result = live_bytes - before;
  ASSERT_TRUE(loaded.has_value()) << to_string(loaded.error().front());
  ASSERT_EQ(loaded->tunnels[0].peers.size(), kPeers + 2);
  EXPECT_EQ(loaded->tunnels[0].peers.back().name, "peer-99999");
  RecordProperty("peak_bytes_per_peer", std::to_string(peak / kPeers));
  RecordProperty("result_bytes_per_peer", std::to_string(result / kPeers));
  // The library's tree of this file takes about 6,000 bytes a peer.
  EXPECT_LT(result / kPeers, 600u);
  EXPECT_LT(peak, 3 * (result + file_bytes));
}

TEST_F(Bulk, AMistakeInTheLastPeerIsFound) {
  write(peer_text(70'000));
  const auto loaded = load_config(file_);
  ASSERT_FALSE(loaded.has_value());
  ASSERT_EQ(loaded.error().size(), 3u);  // name, key, prefix
  for (const ConfigError& error : loaded.error()) {
    EXPECT_GT(error.line, 18u + 5 * kPeers);
    EXPECT_TRUE(error.path.starts_with("tunnels[0].peers[100002].")) << error.path;
  }
}

}  // namespace
}  // namespace turnpike::config

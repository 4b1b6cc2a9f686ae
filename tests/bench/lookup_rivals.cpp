#include "tests/bench/lookup_rivals.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_lpm.h>
#include <rte_malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <unordered_set>

#include "dataplane/base/limits.h"

namespace turnpike::bench {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kBurst = kRxBurst;
int tables_socket = -1;

std::string unique_name(const char* kind) {
  static int number = 0;
  return std::string(kind) + std::to_string(++number);
}

void complain(const char* what) { std::fprintf(stderr, "%s: %s\n", what, rte_strerror(rte_errno)); }

class RteFib final : public RivalV4 {
 public:
  explicit RteFib(rte_fib* fib) : fib_(fib) {}
  ~RteFib() override { rte_fib_free(fib_); }
  uint64_t look_up(std::span<const uint32_t> keys) noexcept override {
    uint64_t sum = 0;
    std::array<uint64_t, kBurst> hops;
    for (size_t i = 0; i < keys.size(); i += kBurst) {
      rte_fib_lookup_bulk(fib_, const_cast<uint32_t*>(&keys[i]), hops.data(), kBurst);
      for (const uint64_t hop : hops) sum += hop;
    }
    return sum;
  }

 private:
  rte_fib* fib_;
};

class RteLpm final : public RivalV4 {
 public:
  explicit RteLpm(rte_lpm* lpm) : lpm_(lpm) {}
  ~RteLpm() override { rte_lpm_free(lpm_); }
  uint64_t look_up(std::span<const uint32_t> keys) noexcept override {
    uint64_t sum = 0;
    std::array<uint32_t, kBurst> hops;
    for (size_t i = 0; i < keys.size(); i += kBurst) {
      rte_lpm_lookup_bulk(lpm_, &keys[i], hops.data(), kBurst);
      for (const uint32_t hop : hops) sum += hop & 0x00ffffff;
    }
    return sum;
  }

 private:
  rte_lpm* lpm_;
};

class RteFib6 final : public RivalV6 {
 public:
  explicit RteFib6(rte_fib6* fib) : fib_(fib) {}
  ~RteFib6() override { rte_fib6_free(fib_); }
  uint64_t look_up(std::span<const uint8_t> keys) noexcept override {
    uint64_t sum = 0;
    std::array<uint64_t, kBurst> hops;
    for (size_t i = 0; i < keys.size(); i += 16 * kBurst) {
      auto* addresses = reinterpret_cast<uint8_t(*)[16]>(const_cast<uint8_t*>(&keys[i]));
      rte_fib6_lookup_bulk(fib_, addresses, hops.data(), kBurst);
      for (const uint64_t hop : hops) sum += hop;
    }
    return sum;
  }

 private:
  rte_fib6* fib_;
};

uint32_t second_level_tables(const std::vector<Prefix>& prefixes) {
  std::unordered_set<uint32_t> nets;
  for (const Prefix& p : prefixes) {
    if (p.length > 24) nets.insert(p.address.v4_host_order() >> 8);
  }
  return static_cast<uint32_t>(nets.size() + 8);
}

uint32_t fib6_tables(const std::vector<Prefix>& prefixes) {
  size_t count = 64;
  for (const Prefix& p : prefixes) {
    if (p.length > 24) count += (p.length + 7u) / 8 - 3;
  }
  return static_cast<uint32_t>(count);
}

int make_heap(const char* name, size_t bytes);

}  // namespace

bool start_eal(size_t megabytes) {
  if (tables_socket >= 0) return true;
  const std::string prefix = "--file-prefix=lookup-bench-" + std::to_string(getpid());
  std::vector<std::string> arguments{"lookup-bench",
                                     "--no-huge",
                                     "--no-shconf",
                                     "--no-pci",
                                     "--no-telemetry",
                                     "-m",
                                     "256",
                                     prefix,
                                     "--log-level=error",
                                     "--force-max-simd-bitwidth=512"};
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) {
    complain("rte_eal_init");
    return false;
  }
  tables_socket = make_heap("tables", megabytes << 20);
  return tables_socket >= 0;
}

namespace {

// A heap of our own, because --no-huge gives small pages only. DPDK clears all of it, so what is not used is
// given back to the kernel at once. Negative: out of memory.
int make_heap(const char* name, size_t bytes) {
  void* mapped = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return -1;
  auto* start = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(mapped) + kHugePage - 1) &
                                           ~(kHugePage - 1));
  madvise(start, bytes, MADV_HUGEPAGE);
  if (rte_malloc_heap_create(name) != 0 ||
      rte_malloc_heap_memory_add(name, start, bytes, nullptr,
                                 static_cast<unsigned>(bytes / kHugePage), kHugePage) != 0) {
    complain("rte_malloc_heap_memory_add");
    return -1;
  }
  // The heap's own words stand in the first and the last page.
  madvise(start + kHugePage, bytes - 2 * kHugePage, MADV_DONTNEED);
  return rte_malloc_heap_get_socket(name);
}

}  // namespace

std::unique_ptr<RivalV4> make_rte_fib(const std::vector<Prefix>& prefixes) {
  rte_fib_conf conf{};
  conf.type = RTE_FIB_DIR24_8;
  conf.default_nh = kNoPeer >> 1;
  conf.max_routes = static_cast<int>(prefixes.size() + 1024);
  conf.dir24_8.nh_sz = RTE_FIB_DIR24_8_4B;
  conf.dir24_8.num_tbl8 = second_level_tables(prefixes);
  rte_fib* fib = rte_fib_create(unique_name("fib").c_str(), tables_socket, &conf);
  if (fib == nullptr) {
    complain("rte_fib_create");
    return nullptr;
  }
  auto result = std::make_unique<RteFib>(fib);
  if (rte_fib_select_lookup(fib, RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512) != 0) {
    std::fprintf(stderr, "rte_fib: no vector look-up on this processor\n");
  }
  for (size_t i = 0; i < prefixes.size(); ++i) {
    if (rte_fib_add(fib, prefixes[i].address.v4_host_order(), prefixes[i].length, i) != 0) {
      complain("rte_fib_add");
      return nullptr;
    }
  }
  return result;
}

std::unique_ptr<RivalV4> make_rte_lpm(const std::vector<Prefix>& prefixes) {
  rte_lpm_config conf{};
  conf.max_rules = static_cast<uint32_t>(prefixes.size() + 1024);
  conf.number_tbl8s = second_level_tables(prefixes);
  rte_lpm* lpm = rte_lpm_create(unique_name("lpm").c_str(), tables_socket, &conf);
  if (lpm == nullptr) {
    complain("rte_lpm_create");
    return nullptr;
  }
  auto result = std::make_unique<RteLpm>(lpm);
  for (size_t i = 0; i < prefixes.size(); ++i) {
    if (rte_lpm_add(lpm, prefixes[i].address.v4_host_order(), prefixes[i].length,
                    static_cast<uint32_t>(i)) != 0) {
      complain("rte_lpm_add");
      return nullptr;
    }
  }
  return result;
}

size_t rte_fib6_bytes(const std::vector<Prefix>& prefixes) {
  return (size_t{1} << 24) * 4 + size_t{fib6_tables(prefixes)} * 256 * 4;
}

std::unique_ptr<RivalV6> make_rte_fib6(const std::vector<Prefix>& prefixes) {
  rte_fib6_conf conf{};
  conf.type = RTE_FIB6_TRIE;
  conf.default_nh = kNoPeer >> 1;
  conf.max_routes = static_cast<int>(prefixes.size() + 1024);
  conf.trie.nh_sz = RTE_FIB6_TRIE_4B;
  conf.trie.num_tbl8 = fib6_tables(prefixes);
  // It reserves gigabytes at once, which fit into a heap made for it only. The prefixes themselves take
  // about 600 bytes each beside the table.
  const std::string name = unique_name("fib6");
  const size_t bytes = rte_fib6_bytes(prefixes) + prefixes.size() * 600 + (size_t{64} << 20);
  const int socket = make_heap(name.c_str(), (bytes + kHugePage - 1) & ~(kHugePage - 1));
  if (socket < 0) return nullptr;
  rte_fib6* fib = rte_fib6_create(name.c_str(), socket, &conf);
  if (fib == nullptr) {
    complain("rte_fib6_create");
    return nullptr;
  }
  auto result = std::make_unique<RteFib6>(fib);
  if (rte_fib6_select_lookup(fib, RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512) != 0) {
    std::fprintf(stderr, "rte_fib6: no vector look-up on this processor\n");
  }
  for (size_t i = 0; i < prefixes.size(); ++i) {
    const int added = rte_fib6_add(fib, prefixes[i].address.bytes.data(), prefixes[i].length, i);
    if (added != 0) {
      std::fprintf(stderr, "rte_fib6_add: %s\n", rte_strerror(-added));
      return nullptr;
    }
  }
  return result;
}

}  // namespace turnpike::bench

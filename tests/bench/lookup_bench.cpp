// Look-ups in the allowed-IPs trie beside DPDK's tables and a one-bit trie, in one process, interleaved.
#include <algorithm>
#include <array>
#include <cstdio>
#include <numeric>

#include "dataplane/base/limits.h"
#include "dataplane/lookup/allowed_ips.h"
#include "dataplane/lookup/allowed_ips_kernel.h"
#include "tests/bench/lookup_edits.h"
#include "tests/bench/lookup_rivals.h"
#include "tests/bench/paired.h"
#include "tests/support/one_bit_trie.h"
#include "tests/support/prefix_mix.h"

namespace turnpike::bench {
namespace {

using lookup::Edit;
using lookup::Ipv6Key;
using lookup::RootV4;
using lookup::RootV6;
using test::Mix;

constexpr size_t kBurst = kRxBurst;
constexpr uint64_t kSeed = 20261122;

// Indexes of prefixes: uniform, or by Zipf's law with exponent 1 (the first prefixes are the popular ones).
std::vector<uint32_t> pick(size_t prefixes, size_t count, bool zipf, test::Random& random) {
  std::vector<uint32_t> picked(count);
  if (!zipf) {
    for (uint32_t& p : picked) p = static_cast<uint32_t>(random() % prefixes);
    return picked;
  }
  std::vector<double> sums(prefixes);
  double sum = 0;
  for (size_t i = 0; i < prefixes; ++i) sums[i] = sum += 1.0 / static_cast<double>(i + 1);
  std::uniform_real_distribution<double> place(0, sum);
  for (uint32_t& p : picked) {
    p = static_cast<uint32_t>(std::lower_bound(sums.begin(), sums.end(), place(random)) -
                              sums.begin());
    p = std::min(p, static_cast<uint32_t>(prefixes - 1));
  }
  return picked;
}

template <typename Root>
void build(lookup::Writer<Root>& writer, const std::vector<Prefix>& prefixes) {
  std::vector<Edit> edits;
  for (size_t i = 0; i < prefixes.size(); ++i) {
    edits.push_back({prefixes[i], static_cast<PeerIndex>(i)});
  }
  if (!writer.prepare(edits)) std::abort();
  writer.reclaim(writer.commit());
}

// What a contender found must be what ours found.
void check_sum(const char* name, uint64_t sum, uint64_t expected) {
  if (sum == expected) return;
  std::fprintf(stderr, "%s found other owners: %016lx, expected %016lx\n", name, sum, expected);
  std::exit(1);
}

template <typename Root, typename Key>
uint64_t look_up_with(const lookup::Kernel& kernel, Root root, const std::vector<Key>& keys) {
  std::array<PeerIndex, kBurst> peers;
  uint64_t sum = 0;
  for (size_t i = 0; i < keys.size(); i += kBurst) {
    if constexpr (std::is_same_v<Root, RootV4>) {
      kernel.v4(root.node, &keys[i], kBurst, peers.data());
    } else {
      kernel.v6(root.node, &keys[i].high, kBurst, peers.data());
    }
    for (const PeerIndex p : peers) sum += p;
  }
  return sum;
}

struct Shape {
  const char* name;
  Mix mix;
  size_t prefixes;
};

template <typename Root, typename Key, typename MakeRivals>
void compare(Report& report, const Shape& shape, size_t keys_count, MakeRivals make_rivals) {
  const std::string base =
      std::string("lookup/") + shape.name + "/" + std::to_string(shape.prefixes);
  if (!report.wants(base + "/uniform") && !report.wants(base + "/zipf")) return;
  std::fprintf(stderr, "... %s\n", base.c_str());
  const std::vector<Prefix> prefixes = test::prefix_mix(shape.mix, shape.prefixes, kSeed);
  SystemPages pages;
  lookup::Writer<Root> writer(pages);
  build(writer, prefixes);
  test::OneBitTrie one_bit;
  for (size_t i = 0; i < prefixes.size(); ++i) one_bit.set(prefixes[i], static_cast<PeerIndex>(i));
  auto rivals = make_rivals(prefixes);
  const size_t rounds = report.options().quick ? 3 : 9;
  test::Random random(kSeed);
  for (const bool zipf : {false, true}) {
    const std::string name = base + (zipf ? "/zipf" : "/uniform");
    if (!report.wants(name)) continue;
    std::vector<Key> keys;
    std::vector<uint8_t> bytes;
    for (const uint32_t p : pick(prefixes.size(), keys_count, zipf, random)) {
      const IpAddress a = test::address_in(prefixes[p], random);
      if constexpr (std::is_same_v<Root, RootV4>) {
        keys.push_back(test::key_v4(a));
      } else {
        keys.push_back(test::key_v6(a));
        bytes.insert(bytes.end(), a.bytes.begin(), a.bytes.end());
      }
    }
    const Root root = writer.head();
    const uint64_t expected = look_up_with(lookup::best_kernel(), root, keys);
    std::vector<Contender> contenders;
    contenders.push_back({"trie", [&] {
                            keep(look_up_with(lookup::best_kernel(), root, keys));
                            return keys.size();
                          }});
    for (const lookup::Kernel* kernel : lookup::kernels()) {
      if (kernel == &lookup::best_kernel()) continue;
      check_sum(kernel->name, look_up_with(*kernel, root, keys), expected);
      contenders.push_back({kernel->name, [&, kernel] {
                              keep(look_up_with(*kernel, root, keys));
                              return keys.size();
                            }});
    }
    for (auto& [rival_name, rival] : rivals) {
      if (rival == nullptr) continue;
      const auto run = [&keys, &bytes, r = rival.get()] {
        if constexpr (std::is_same_v<Root, RootV4>) {
          (void)bytes;
          return r->look_up(keys);
        } else {
          (void)keys;
          return r->look_up(bytes);
        }
      };
      check_sum(rival_name, run(), expected);
      contenders.push_back({rival_name, [run, n = keys.size()] {
                              keep(run());
                              return n;
                            }});
    }
    // The slow one walks a part of the keys only.
    const size_t part = std::min<size_t>(keys.size(), 1 << 17);
    const auto walk = [&](size_t count) {
      uint64_t sum = 0;
      for (size_t i = 0; i < count; ++i) {
        if constexpr (std::is_same_v<Root, RootV4>) {
          sum += one_bit.longest(Ipv6Key{.high = uint64_t{keys[i]} << 32});
        } else {
          sum += one_bit.longest(keys[i]);
        }
      }
      return sum;
    };
    check_sum("one-bit-trie", walk(keys.size()), expected);
    contenders.push_back({"one-bit-trie", [&] {
                            keep(walk(part));
                            return part;
                          }});
    add_rates(report, name, run_interleaved(contenders, rounds));
  }
}

int run(const Options& options) {
  Report report(options);
  std::printf("kernel: %s, bursts of %zu, seed %lu\n", lookup::best_kernel().name, kBurst, kSeed);
  if (!start_eal(options.quick ? 512 : 3 * 1024)) return 1;
  const std::vector<size_t> sizes =
      options.quick ? std::vector<size_t>{1000} : std::vector<size_t>{1'000, 100'000, 1'000'000};
  const size_t keys = options.quick ? 4096 : 1 << 20;
  for (const auto& [name, mix] :
       {std::pair{"ipv4", Mix::Spread}, std::pair{"ipv4-dense", Mix::Dense}}) {
    for (const size_t n : sizes) {
      compare<RootV4, uint32_t>(
          report, {name, mix, n}, keys, [n](const std::vector<Prefix>& prefixes) {
            std::vector<std::pair<const char*, std::unique_ptr<RivalV4>>> rivals;
            rivals.emplace_back("rte_fib", make_rte_fib(prefixes));
            // Its add searches a list: a million would take hours.
            if (n <= 100'000) rivals.emplace_back("rte_lpm", make_rte_lpm(prefixes));
            return rivals;
          });
    }
  }
  for (const size_t n : sizes) {
    compare<RootV6, Ipv6Key>(report, {"ipv6", Mix::V6, n}, keys,
                             [](const std::vector<Prefix>& prefixes) {
                               std::vector<std::pair<const char*, std::unique_ptr<RivalV6>>> rivals;
                               rivals.emplace_back("rte_fib6", make_rte_fib6(prefixes));
                               return rivals;
                             });
  }
  measure_edits(report);
  if (!report.write_json()) {
    std::perror(options.json.c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace turnpike::bench

int main(int argc, char** argv) {
  return turnpike::bench::run(turnpike::bench::parse_options(argc, argv));
}

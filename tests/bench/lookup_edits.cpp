#include "tests/bench/lookup_edits.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <thread>

#include "dataplane/base/limits.h"
#include "dataplane/base/ready_pages.h"
#include "dataplane/lookup/allowed_ips.h"
#include "dataplane/publish/epoch.h"
#include "dataplane/publish/retirement.h"
#include "tests/bench/lookup_growth.h"
#include "tests/support/prefix_mix.h"

namespace turnpike::bench {
namespace {

using lookup::Edit;
using lookup::Garbage;
using lookup::RootV4;
using lookup::RootV6;
using lookup::Writer;
using test::Mix;

constexpr uint64_t kSeed = 20261122;

struct Family {
  const char* name;
  Mix mix;
};

std::vector<Edit> as_edits(const std::vector<Prefix>& prefixes, PeerIndex first = 0) {
  std::vector<Edit> edits;
  edits.reserve(prefixes.size());
  for (const Prefix& p : prefixes) edits.push_back({p, first++});
  return edits;
}

// Commits that are retired by epoch. The one reader reports now and then, as a worker does at each burst.
template <typename Root>
class Retiring {
 public:
  explicit Retiring(Writer<Root>& writer) : writer_(writer) { reader_.online(); }
  ~Retiring() {
    reader_.offline();
    collect();
  }
  void commit(std::span<const Edit> edits) {
    if (!writer_.prepare(edits)) std::abort();
    retired_.add(writer_.commit());
    collect();
  }
  void read_burst() { reader_.begin(); }

 private:
  void collect() {
    retired_.collect([this](Garbage g) { writer_.reclaim(g); });
  }
  Writer<Root>& writer_;
  publish::Epoch epoch_;
  publish::EpochReader& reader_ = epoch_.add_reader();
  publish::Retirement<Garbage> retired_{epoch_};
};

// What reading the thread's clock adds to a measurement: a system call of a third of a microsecond, as much
// as an edit. Subtracted.
double clock_ns() {
  static const double cost = [] {
    std::vector<double> empty;
    for (int i = 0; i < 10'000; ++i) {
      const uint64_t start = thread_cpu_ns();
      empty.push_back(static_cast<double>(thread_cpu_ns() - start));
    }
    return median(std::move(empty));
  }();
  return cost;
}

template <typename F>
double ns_of(F f) {
  const uint64_t start = thread_cpu_ns();
  f();
  return std::max(0.0, static_cast<double>(thread_cpu_ns() - start) - clock_ns());
}

template <typename Root>
using KeyOf = std::conditional_t<std::is_same_v<Root, RootV4>, uint32_t, lookup::Ipv6Key>;

template <typename Root>
std::vector<KeyOf<Root>> some_keys(const std::vector<Prefix>& prefixes, size_t count) {
  test::Random random(kSeed);
  std::vector<KeyOf<Root>> keys;
  for (size_t i = 0; i < count; ++i) {
    const IpAddress a = test::address_in(prefixes[random() % prefixes.size()], random);
    if constexpr (std::is_same_v<Root, RootV4>) {
      keys.push_back(test::key_v4(a));
    } else {
      keys.push_back(test::key_v6(a));
    }
  }
  return keys;
}

template <typename Root>
uint64_t look_up_all(Root root, const std::vector<KeyOf<Root>>& keys) {
  std::array<PeerIndex, kRxBurst> peers;
  for (size_t i = 0; i + kRxBurst <= keys.size(); i += kRxBurst) {
    lookup_burst(root, std::span(keys).subspan(i, kRxBurst), peers);
    keep(peers);
  }
  return keys.size();
}

// What a worker loses while another thread publishes 10,000 edits a second: rounds with and without.
template <typename Root>
void measure_loss(Report& report, const std::string& base, Writer<Root>& writer,
                  const std::vector<Edit>& fresh, const std::vector<KeyOf<Root>>& keys) {
  publish::Epoch epoch;
  publish::EpochReader& reader = epoch.add_reader();
  publish::Retirement<Garbage> retired(epoch);
  std::atomic<const void*> published{writer.head().node};
  std::atomic<bool> editing{false}, done{false};
  std::thread control([&] {
    size_t next = 0;
    bool inserts = true;
    while (!done.load(std::memory_order_relaxed)) {
      timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
      nanosleep(&pause, nullptr);
      // Ten single edits for each millisecond.
      for (int i = 0; i < 10 && editing.load(std::memory_order_relaxed); ++i) {
        const Edit e{fresh[next].prefix, inserts ? fresh[next].peer : kNoPeer};
        if (++next == fresh.size()) {
          next = 0;
          inserts = !inserts;
        }
        if (!writer.prepare({&e, 1})) std::abort();
        const Garbage garbage = writer.commit();
        published.store(writer.head().node, std::memory_order_release);
        retired.add(garbage);
        retired.collect([&](Garbage g) { writer.reclaim(g); });
      }
    }
  });
  reader.online();
  const auto rounds_of = [&](bool with_edits) {
    return Contender{with_edits ? "publishing" : "quiet", [&, with_edits] {
                       editing.store(with_edits);
                       std::array<PeerIndex, kRxBurst> peers;
                       for (size_t i = 0; i + kRxBurst <= keys.size(); i += kRxBurst) {
                         reader.begin();
                         const Root root{published.load(std::memory_order_acquire)};
                         lookup_burst(root, std::span(keys).subspan(i, kRxBurst), peers);
                         keep(peers);
                       }
                       return keys.size();
                     }};
  };
  add_rates(report, base + "/publishing",
            run_interleaved({rounds_of(true), rounds_of(false)}, report.options().quick ? 3 : 21));
  done.store(true);
  control.join();
  reader.offline();
  retired.collect([&](Garbage g) { writer.reclaim(g); });
}

template <typename Root>
void measure(Report& report, const Family& family) {
  const std::string base = std::string("lookup/edit/") + family.name;
  if (!report.wants(base + "/")) return;
  std::fprintf(stderr, "... %s\n", base.c_str());
  const bool quick = report.options().quick;
  const size_t count = quick ? 2'000 : 1'000'000;
  const size_t samples = quick ? 500 : 20'000;
  const size_t batch = quick ? 100 : 10'000;
  std::vector<Prefix> prefixes = test::prefix_mix(family.mix, count + samples, kSeed);
  const std::vector<Edit> fresh =
      as_edits({prefixes.end() - static_cast<ptrdiff_t>(samples), prefixes.end()});
  prefixes.resize(count);
  const std::vector<Edit> edits = as_edits(prefixes);

  std::vector<double> build_ms;
  ReadyPages pages;  // as the daemon has them
  auto writer = std::make_unique<Writer<Root>>(pages);
  for (int round = 0; round < (quick ? 1 : 3); ++round) {
    writer.reset();
    writer = std::make_unique<Writer<Root>>(pages);
    build_ms.push_back(ns_of([&] { Retiring(*writer).commit(edits); }) / 1e6);
  }
  report.add(base + "/build", "ms", build_ms);
  report.add(base + "/bytes-per-prefix", "bytes",
             {static_cast<double>(writer->used_bytes()) / static_cast<double>(count)});
  report.add(base + "/reserved-per-prefix", "bytes",
             {static_cast<double>(writer->reserved_bytes()) / static_cast<double>(count)});

  std::vector<double> insert_us, remove_us;
  {
    // In turns, so that a slow moment of the machine meets both.
    Retiring<Root> retiring(*writer);
    const size_t turn = fresh.size() / 20;
    for (size_t at = 0; at + turn <= fresh.size(); at += turn) {
      for (const Edit& e : std::span(fresh).subspan(at, turn)) {
        insert_us.push_back(ns_of([&] { retiring.commit({&e, 1}); }) / 1e3);
        retiring.read_burst();
      }
      for (const Edit& e : std::span(fresh).subspan(at, turn)) {
        const Edit removal{e.prefix, kNoPeer};
        remove_us.push_back(ns_of([&] { retiring.commit({&removal, 1}); }) / 1e3);
        retiring.read_burst();
      }
    }
  }
  for (const auto& [name, runs] :
       {std::pair{"insert", &insert_us}, std::pair{"delete", &remove_us}}) {
    const std::string edit = base + "/" + name;
    report.add(edit + "/p50", "us", {percentile(*runs, 0.5)});
    report.add(edit + "/p99", "us", {percentile(*runs, 0.99)});
    report.add(edit + "/max", "us", {percentile(*runs, 1.0)});
  }

  std::vector<double> batch_ms;
  for (size_t at = 0; at + batch <= fresh.size(); at += batch) {
    Retiring<Root> retiring(*writer);
    batch_ms.push_back(ns_of([&] { retiring.commit(std::span(fresh).subspan(at, batch)); }) / 1e6);
  }
  report.add(base + "/batch-" + std::to_string(batch), "ms", batch_ms);

  // One edit at a time from nothing: with pages that are touched ahead, and for comparison with the kernel's, whose
  // first touch clears 2 MiB (and where a hypervisor has to find them too, that shows).
  const auto grow = [&](const std::string& name, RoomSource& memory) {
    Growth growth(edits.size());
    std::unique_ptr<Writer<Root>> table;
    for (int round = 0; round < (quick ? 2 : 3); ++round) {
      table.reset();
      table = std::make_unique<Writer<Root>>(memory);
      Retiring<Root> retiring(*table);
      growth.run(
          [&](size_t i) {
            const double us = ns_of([&] { retiring.commit({&edits[i], 1}); }) / 1e3;
            retiring.read_burst();
            return us;
          },
          [&] { return table->reserved_bytes(); });
    }
    growth.report(report, base + name);
    return table;
  };
  const auto grown = grow("/grow", pages);
  SystemPages untouched;
  grow("/grow-untouched", untouched);

  // The fresh ones of the batches are in the built table only.
  std::vector<Edit> removals;
  for (const Edit& e : fresh) removals.push_back({e.prefix, kNoPeer});
  Retiring<Root>(*writer).commit(removals);
  const auto keys = some_keys<Root>(prefixes, quick ? 4096 : 1 << 20);
  const auto contender = [&keys](const char* name, Root root) {
    return Contender{name, [&keys, root] { return look_up_all(root, keys); }};
  };
  add_rates(report, base + "/grown",
            run_interleaved({contender("grown", grown->head()), contender("built", writer->head())},
                            quick ? 3 : 9));
  measure_loss<Root>(report, base, *writer, fresh, keys);
}

// What a copy for a second NUMA node costs the writer (the memory is on one, wherever that is), beside a table with one
// and beside two tables that are edited alike.
template <typename Root>
void measure_copies(Report& report, const Family& family) {
  const std::string base = std::string("lookup/edit/") + family.name + "/two-copies";
  if (!report.wants(base + "/")) return;
  std::fprintf(stderr, "... %s\n", base.c_str());
  const bool quick = report.options().quick;
  const size_t count = quick ? 2'000 : 1'000'000;
  const size_t samples = quick ? 500 : 20'000;
  std::vector<Prefix> prefixes = test::prefix_mix(family.mix, count + samples, kSeed);
  const std::vector<Edit> fresh =
      as_edits({prefixes.end() - static_cast<ptrdiff_t>(samples), prefixes.end()});
  prefixes.resize(count);
  const std::vector<Edit> edits = as_edits(prefixes);

  std::array<ReadyPages, 2> pages;
  const std::array<RoomSource*, 2> both{&pages[0], &pages[1]};
  Writer<Root> one(pages[0]), two((ReplicaPages(both))), first(pages[0]), second(pages[1]);
  Retiring<Root> of_one(one), of_two(two), of_first(first), of_second(second);
  std::array<std::vector<double>, 3> us;
  const auto commit = [&](std::span<const Edit> batch) {
    us[0].push_back(ns_of([&] { of_one.commit(batch); }) / 1e3);
    us[1].push_back(ns_of([&] { of_two.commit(batch); }) / 1e3);
    us[2].push_back(ns_of([&] {
                      of_first.commit(batch);
                      of_second.commit(batch);
                    }) /
                    1e3);
    for (Retiring<Root>* each : {&of_one, &of_two, &of_first, &of_second}) each->read_burst();
  };
  constexpr std::array kNames = {"/one-copy", "/two-copies", "/two-tables"};
  commit(edits);
  for (size_t i = 0; i < us.size(); ++i) {
    report.add(base + "/build" + kNames[i], "ms", {us[i].front() / 1e3});
    us[i].clear();
  }
  for (const Edit& e : fresh) commit({&e, 1});
  for (size_t i = 0; i < us.size(); ++i) {
    report.add(base + "/insert" + kNames[i] + "/p50", "us", {percentile(us[i], 0.5)});
    report.add(base + "/insert" + kNames[i] + "/p99", "us", {percentile(us[i], 0.99)});
  }
}

}  // namespace

void measure_edits(Report& report) {
  measure<RootV4>(report, {"ipv4", Mix::Spread});
  measure<RootV4>(report, {"ipv4-dense", Mix::Dense});
  measure<RootV6>(report, {"ipv6", Mix::V6});
  measure_copies<RootV4>(report, {"ipv4", Mix::Spread});
  measure_copies<RootV6>(report, {"ipv6", Mix::V6});
}

}  // namespace turnpike::bench

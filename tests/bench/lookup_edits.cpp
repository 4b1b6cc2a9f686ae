#include "tests/bench/lookup_edits.h"

#include <cstdio>
#include <deque>
#include <memory>

#include "dataplane/lookup/allowed_ips.h"
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

// Old roots are retired two commits later, as by epochs that readers report quickly.
template <typename Root>
class Retiring {
 public:
  explicit Retiring(Writer<Root>& writer) : writer_(writer) {}
  ~Retiring() {
    while (!waiting_.empty()) retire();
  }
  void commit(std::span<const Edit> edits) {
    if (!writer_.prepare(edits)) std::abort();
    waiting_.push_back(writer_.commit());
    if (waiting_.size() > 2) retire();
  }

 private:
  void retire() {
    writer_.reclaim(waiting_.front());
    waiting_.pop_front();
  }
  Writer<Root>& writer_;
  std::deque<Garbage> waiting_;
};

template <typename F>
double ns_of(F f) {
  const uint64_t start = thread_cpu_ns();
  f();
  return static_cast<double>(thread_cpu_ns() - start);
}

template <typename Root>
void measure(Report& report, const Family& family) {
  const std::string base = std::string("lookup/edit/") + family.name;
  if (!report.wants(base)) return;
  std::fprintf(stderr, "... %s\n", base.c_str());
  const bool quick = report.options().quick;
  const size_t count = quick ? 2'000 : 1'000'000;
  const size_t samples = quick ? 500 : 20'000;
  const size_t batch = quick ? 100 : 10'000;
  std::vector<Prefix> prefixes = test::prefix_mix(family.mix, count + samples, kSeed);
  const std::vector<Edit> fresh = as_edits({prefixes.end() - static_cast<ptrdiff_t>(samples), prefixes.end()});
  prefixes.resize(count);
  const std::vector<Edit> edits = as_edits(prefixes);

  std::vector<double> build_ms;
  SystemPages pages;
  auto writer = std::make_unique<Writer<Root>>(pages);
  for (int round = 0; round < (quick ? 1 : 3); ++round) {
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
    Retiring<Root> retiring(*writer);
    for (const Edit& e : fresh) {
      insert_us.push_back(ns_of([&] { retiring.commit({&e, 1}); }) / 1e3);
    }
    for (const Edit& e : fresh) {
      const Edit removal{e.prefix, kNoPeer};
      remove_us.push_back(ns_of([&] { retiring.commit({&removal, 1}); }) / 1e3);
    }
  }
  for (const auto& [name, runs] : {std::pair{"insert", &insert_us}, std::pair{"delete", &remove_us}}) {
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

  // One edit at a time from nothing.
  auto grown = std::make_unique<Writer<Root>>(pages);
  std::vector<double> grow_us;
  {
    Retiring<Root> retiring(*grown);
    for (const Edit& e : edits) grow_us.push_back(ns_of([&] { retiring.commit({&e, 1}); }) / 1e3);
  }
  report.add(base + "/grow/p50", "us", {percentile(grow_us, 0.5)});
  report.add(base + "/grow/p99", "us", {percentile(grow_us, 0.99)});
  report.add(base + "/grow/max", "us", {percentile(grow_us, 1.0)});
}

}  // namespace

void measure_edits(Report& report) {
  measure<RootV4>(report, {"ipv4", Mix::Spread});
  measure<RootV4>(report, {"ipv4-dense", Mix::Dense});
  measure<RootV6>(report, {"ipv6", Mix::V6});
}

}  // namespace turnpike::bench

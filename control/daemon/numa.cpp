#include "control/daemon/numa.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>

namespace turnpike::daemon {
namespace {

// Of "node7" 7.
std::optional<NumaNode> number_of(const std::string& name) {
  constexpr std::string_view kPrefix = "node";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  NumaNode node = 0;
  const char* end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + kPrefix.size(), end, node);
  if (error != std::errc{} || rest != end) return std::nullopt;
  return node;
}

}  // namespace

std::optional<NumaNode> NumaNodes::of_cpu(uint32_t cpu) const {
  std::error_code ignored;
  const std::filesystem::path directory = devices_ + "/cpu/cpu" + std::to_string(cpu);
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    if (const auto node = number_of(entry.path().filename())) return node;
  }
  return std::nullopt;
}

// A list of ranges: "0", "0-1", "0,8".
bool NumaNodes::several() const {
  std::ifstream file(devices_ + "/node/online");
  std::string list;
  return std::getline(file, list) && list.find_first_of("-,") != std::string::npos;
}

Placement place_tables(std::span<const uint32_t> worker_cpus, const NumaNodes& nodes,
                       const std::function<Result<void, std::string>(int)>& can_place) {
  Placement placement;
  std::vector<NumaNode> refused;
  const bool several = nodes.several();
  const auto copy_on = [&](NumaNode node) {
    return std::ranges::find(placement.copies, std::optional(node), &Placement::Copy::node);
  };
  const auto add_copy = [&](NumaNode node) {
    auto placed = can_place(static_cast<int>(node));
    if (placed && placement.copies.size() == kMaxReplicas) {
      placed = fail("tables are kept on " + std::to_string(kMaxReplicas) + " NUMA nodes at most");
    }
    if (placed) {
      placement.copies.push_back({.node = node, .placed = true});
      return;
    }
    refused.push_back(node);
    placement.warnings.push_back(placed.error() + "; workers on NUMA node " + std::to_string(node) +
                                 " read tables that may lie elsewhere");
  };
  for (const uint32_t cpu : worker_cpus) {
    const auto node = nodes.of_cpu(cpu);
    placement.workers.push_back({.node = node});
    if (!several || !node || copy_on(*node) != placement.copies.end()) continue;
    if (std::ranges::find(refused, *node) == refused.end()) add_copy(*node);
  }
  if (placement.copies.empty()) {
    // On a machine with one node there is no choice.
    placement.copies.push_back(
        {.node = several || placement.workers.empty() ? std::nullopt : placement.workers[0].node});
  }
  for (Placement::Worker& worker : placement.workers) {
    if (!worker.node) continue;
    const auto copy = copy_on(*worker.node);
    if (copy == placement.copies.end()) continue;
    worker.replica = static_cast<ReplicaIndex>(copy - placement.copies.begin());
  }
  return placement;
}

}  // namespace turnpike::daemon

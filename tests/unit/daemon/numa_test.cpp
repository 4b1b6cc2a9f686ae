// Which copies of the tables there are, and who reads which, on machines that are made up.
#include "control/daemon/numa.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace turnpike::daemon {
namespace {

// A machine as /sys/devices/system shows it.
class Machine {
 public:
  explicit Machine(const std::string& online)
      : devices_(std::filesystem::temp_directory_path() /
                 ("turnpike-numa-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(devices_ / "node");
    std::ofstream(devices_ / "node/online") << online << "\n";
  }
  ~Machine() { std::filesystem::remove_all(devices_); }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  void add_cpu(uint32_t cpu, NumaNode node) const {
    const auto directory = devices_ / "cpu" / ("cpu" + std::to_string(cpu));
    std::filesystem::create_directories(directory / "topology");
    std::filesystem::create_directories(directory / ("node" + std::to_string(node)));
  }
  [[nodiscard]] NumaNodes nodes() const { return NumaNodes(devices_); }

 private:
  std::filesystem::path devices_;
};

Result<void, std::string> anywhere(int) { return {}; }

std::vector<unsigned> replicas(const Placement& placement) {
  std::vector<unsigned> of;
  for (const Placement::Worker& worker : placement.workers) of.push_back(worker.replica);
  return of;
}

TEST(NumaPlacement, OnOneNodeThereIsOneCopyAndNobodyPlacesIt) {
  const Machine machine("0");
  for (uint32_t cpu : {0u, 1u}) machine.add_cpu(cpu, 0);
  const std::vector<uint32_t> cpus{0, 1};
  const Placement placement = place_tables(cpus, machine.nodes(), [](int) {
    ADD_FAILURE() << "asked for nothing";
    return Result<void, std::string>();
  });
  ASSERT_EQ(placement.copies.size(), 1u);
  EXPECT_EQ(placement.copies[0].node, 0u);
  EXPECT_FALSE(placement.copies[0].placed);
  EXPECT_EQ(placement.workers[1].node, 0u);
  EXPECT_EQ(replicas(placement), (std::vector{0u, 0u}));
  EXPECT_TRUE(placement.warnings.empty());
}

TEST(NumaPlacement, AKernelWithoutNodesIsAMachineWithOne) {
  const std::vector<uint32_t> cpus{3};
  const Placement placement = place_tables(cpus, NumaNodes("/nonexistent"), anywhere);
  ASSERT_EQ(placement.copies.size(), 1u);
  EXPECT_FALSE(placement.copies[0].node);
  EXPECT_FALSE(placement.copies[0].placed);
  EXPECT_FALSE(placement.workers[0].node);
}

TEST(NumaPlacement, EachNodeWithAWorkerGetsACopyInTheOrderOfWorkers) {
  const Machine machine("0-2,8");
  machine.add_cpu(1, 8);
  machine.add_cpu(2, 0);
  machine.add_cpu(3, 8);
  machine.add_cpu(4, 2);
  const std::vector<uint32_t> cpus{1, 2, 3, 4};
  const Placement placement = place_tables(cpus, machine.nodes(), anywhere);
  ASSERT_EQ(placement.copies.size(), 3u);
  EXPECT_EQ(placement.copies[0].node, 8u);
  EXPECT_EQ(placement.copies[1].node, 0u);
  EXPECT_EQ(placement.copies[2].node, 2u);
  EXPECT_TRUE(placement.copies[0].placed && placement.copies[1].placed);
  EXPECT_EQ(replicas(placement), (std::vector{0u, 1u, 0u, 2u}));
  EXPECT_TRUE(placement.warnings.empty());
}

TEST(NumaPlacement, ANodeWithoutMemoryReadsTheFirstCopyAndIsToldOnce) {
  const Machine machine("0-1");
  for (uint32_t cpu : {0u, 1u}) machine.add_cpu(cpu, 1);
  for (uint32_t cpu : {2u, 3u}) machine.add_cpu(cpu, 0);
  const std::vector<uint32_t> cpus{0, 1, 2, 3};
  const auto only_node_0 = [](int node) -> Result<void, std::string> {
    if (node == 0) return {};
    return fail(std::string("NUMA node 1: no"));
  };
  const Placement placement = place_tables(cpus, machine.nodes(), only_node_0);
  ASSERT_EQ(placement.copies.size(), 1u);
  EXPECT_EQ(placement.copies[0].node, 0u);
  EXPECT_TRUE(placement.copies[0].placed);
  EXPECT_EQ(placement.workers[0].node, 1u);
  EXPECT_EQ(replicas(placement), (std::vector{0u, 0u, 0u, 0u}));
  EXPECT_EQ(placement.warnings,
            std::vector<std::string>{"NUMA node 1: no; workers on NUMA node 1 read tables that "
                                     "may lie elsewhere"});
}

// A container, mostly. Two copies on whatever node would cost memory and bring nothing.
TEST(NumaPlacement, WhereNothingCanBePlacedThereIsOneCopyForAll) {
  const Machine machine("0-1");
  machine.add_cpu(0, 0);
  machine.add_cpu(1, 1);
  const std::vector<uint32_t> cpus{0, 1};
  const Placement placement = place_tables(cpus, machine.nodes(), [](int) {
    return Result<void, std::string>(fail(std::string("not allowed")));
  });
  ASSERT_EQ(placement.copies.size(), 1u);
  EXPECT_FALSE(placement.copies[0].node);
  EXPECT_FALSE(placement.copies[0].placed);
  EXPECT_EQ(replicas(placement), (std::vector{0u, 0u}));
  EXPECT_EQ(placement.warnings.size(), 2u);
}

TEST(NumaPlacement, NodesBeyondTheLimitReadTheFirstCopy) {
  const Machine machine("0-19");
  std::vector<uint32_t> cpus;
  for (uint32_t cpu = 0; cpu < kMaxReplicas + 2; ++cpu) {
    machine.add_cpu(cpu, cpu);
    cpus.push_back(cpu);
  }
  const Placement placement = place_tables(cpus, machine.nodes(), anywhere);
  EXPECT_EQ(placement.copies.size(), kMaxReplicas);
  EXPECT_EQ(placement.workers[kMaxReplicas - 1].replica, kMaxReplicas - 1);
  EXPECT_EQ(placement.workers[kMaxReplicas].replica, 0);
  EXPECT_EQ(placement.warnings.size(), 2u);
}

}  // namespace
}  // namespace turnpike::daemon

// DPDK's EAL for the tests of one program.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "dataplane/io/eal.h"
#include "dataplane/io/log.h"

namespace turnpike::io::test {

class EalEnvironment : public testing::Environment {
 public:
  // `name` tells its files from those of other programs.
  explicit EalEnvironment(const char* name) : name_(name) {}

  void SetUp() override {
    install_log_sink({});
    const auto started =
        start_eal({.main_core = 0,
                   .worker_cores = {0},
                   .memory_mib = 128,
                   .file_prefix = "turnpike-" + std::string(name_) + "-" + std::to_string(getpid()),
                   .pci_devices = {},
                   .extra = {"--no-telemetry"}});
    ASSERT_TRUE(started) << started.error();
  }
  void TearDown() override { stop_eal(); }

 private:
  const char* name_;
};

}  // namespace turnpike::io::test

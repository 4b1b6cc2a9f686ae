// The loop of one worker: polls its own RX queue of each port, runs the pipeline to completion, transmits on
// its own TX queues.
//   Threads: start_workers() and stop_workers() on the main thread; a loop runs on its lcore alone.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/crypto/aead.h"
#include "dataplane/io/port.h"
#include "dataplane/io/rest.h"
#include "dataplane/io/spreader.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/publish/door.h"

namespace turnpike::io {

struct WorkerOptions {
  WorkerIndex index = 0;
  Idle idle = Idle::Adaptive;
  std::span<const Port> ports;  // in the order of PortIndex
  rte_mempool* buffers = nullptr;
  publish::Door* door = nullptr;
  const pipeline::Shared* shared = nullptr;
  crypto::Aead* aead = nullptr;
  const Spreader* spreader = nullptr;  // nullptr: every port spreads its frames itself
};

// Runs until `stop`. Called on the worker's lcore.
void run_worker(const WorkerOptions& options, const std::atomic<bool>& stop);

// Launches one loop on each lcore; they run until stop_workers().
class Workers {
 public:
  explicit Workers(std::vector<WorkerOptions> options);
  ~Workers() { stop(); }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  void start();
  void stop();  // and waits for them

  // What one loop is started with.
  struct Launch {
    const WorkerOptions* options;
    const std::atomic<bool>* stop;
  };

 private:
  std::vector<WorkerOptions> options_;
  std::vector<Launch> launches_;
  std::atomic<bool> stop_{false};
  bool running_ = false;
};

}  // namespace turnpike::io

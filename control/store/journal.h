// The thread that writes the state. Whoever commits never waits for a disk: entries are posted, and all that wait
// when a write begins share one sync.
//   Threads: post() and run() on the control thread; `deliver` brings what is done back to it, in order.
//   Bounds:  kBatchMax entries in one write; what waits is the caller's to bound.
//   Failure: of a batch, all entries fail. Records planned on one that failed fail, too: those of the same chain.
//            Who hears of a failure goes back to what is durable and posts in a new chain.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "control/store/store.h"

namespace turnpike::store {

// What a commit waits for. An interface, so that who commits can be tested without a disk.
class Log {
 public:
  using Done = std::function<void(Result<void, std::string>)>;
  virtual ~Log() = default;
  // `done` comes on the control thread, in the order of posting, never at once.
  virtual void post(Entry entry, uint64_t chain, Done done) = 0;
};

class Journal final : public Log {
 public:
  static constexpr size_t kBatchMax = 512;

  using Deliver = std::function<void(std::function<void()>)>;

  Journal(Store store, Deliver deliver);
  // Writes what was posted; what is done is delivered.
  ~Journal() override;
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  void post(Entry entry, uint64_t chain, Done done) override;
  // On the thread, after what was posted before it: for questions to the history.
  void run(std::function<void(Store&)> work, std::function<void()> done);

 private:
  struct Job {
    Entry entry;
    uint64_t chain = 0;
    Done done;
    std::function<void(Store&)> work;  // instead of an entry
    std::function<void()> worked;
  };
  void loop();
  void write(std::vector<Job>& jobs);
  void enqueue(Job job);

  Deliver deliver_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> waiting_;  // under the mutex
  bool stopping_ = false;  // under the mutex
  // The thread's.
  Store store_;
  uint64_t failed_chain_ = 0;  // 0: none; chains begin at 1
  std::string failure_;
  std::thread thread_;
};

}  // namespace turnpike::store

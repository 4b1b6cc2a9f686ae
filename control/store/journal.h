// The thread that writes the state. Whoever commits never waits for a disk: entries are posted, and those that come
// close together share one sync. Their rows are written as they come; the sync waits, kGatherFor at most, until
// there are as many as were under way after the last one. Who commits alone waits for nobody.
// After a write, and while it expects more, it looks for the next entry, kSpinFor at most, before it sleeps: to wake it
// costs whoever posts more than a row costs here. Where that is in vain it looks less often (Patience). Of what it expects
// it asks for kTogether at a time: what both threads touch goes from one CPU to the other once for all of them.
//   Threads: post() and run() on the control thread; `deliver` brings what is done back to it, in order.
//   Bounds:  kBatchMax entries in one write; what waits is the caller's to bound.
//   Failure: of a batch, all entries fail. Records planned on one that failed fail, too: those of the same chain.
//            Who hears of a failure goes back to what is durable and posts in a new chain.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "control/store/store.h"
#include "dataplane/base/limits.h"

namespace turnpike::store {

// What a commit waits for. An interface, so that who commits can be tested without a disk.
class Log {
 public:
  using Done = std::function<void(Result<void, std::string>)>;
  virtual ~Log() = default;
  // `done` comes on the control thread, in the order of posting, never at once.
  virtual void post(Entry entry, uint64_t chain, Done done) = 0;
};

// Whether it is worth while to look for what comes next rather than to sleep: after n times in vain, 2^n - 1 times not.
class Patience {
 public:
  [[nodiscard]] bool has() noexcept {
    if (skip_ == 0) return true;
    --skip_;
    return false;
  }
  void learn(bool paid) noexcept {
    in_vain_ = paid ? 0 : std::min(in_vain_ + 1, kInVainMax);
    skip_ = (1u << in_vain_) - 1;
  }

 private:
  static constexpr unsigned kInVainMax = 6;
  unsigned in_vain_ = 0;
  unsigned skip_ = 0;
};

class Journal final : public Log {
 public:
  static constexpr size_t kBatchMax = 512;
  static constexpr size_t kTogether = 4;
  static constexpr std::chrono::microseconds kGatherFor{250};
  static constexpr std::chrono::microseconds kSpinFor{100};

  using Deliver = std::function<void(std::function<void()>)>;

  Journal(Store store, Deliver deliver, std::chrono::microseconds gather_for = kGatherFor);
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
    bool refused = false;  // it was made in a chain that failed
    std::function<void(Store&)> work;  // instead of an entry
    std::function<void()> worked;
  };
  // The thread only reads what control wrote, and control lets it go: what both write goes to and fro between two CPUs.
  using JobPointer = std::unique_ptr<Job>;
  using Clock = std::chrono::steady_clock;
  static constexpr auto kEver = Clock::time_point::max();
  static constexpr size_t kNever = std::numeric_limits<size_t>::max();
  void loop();
  void write();
  void enqueue(JobPointer job);
  [[nodiscard]] bool has_next() const noexcept { return next_ < taken_.size(); }
  [[nodiscard]] bool take();
  [[nodiscard]] bool await_next();
  [[nodiscard]] bool await_entry(size_t have, Clock::time_point until);
  void await(size_t wanted, Clock::time_point until, Patience* patience);
  [[nodiscard]] bool spin(uint64_t announced, Clock::time_point until) const;

  Deliver deliver_;
  std::chrono::microseconds gather_for_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<JobPointer> waiting_;  // under the mutex
  size_t wanted_ = kNever;  // the thread waits until so many do; under the mutex
  bool asleep_ = false;  // meanwhile; under the mutex
  bool stopping_ = false;  // under the mutex
  // How often there was what the thread waited for. control: writes · the thread: reads
  alignas(kCacheLine) std::atomic<uint64_t> announced_{0};
  // The thread's.
  Store store_;
  alignas(kCacheLine) std::vector<JobPointer> taken_;  // swapped with what waits
  size_t next_ = 0;  // of those, to be done
  size_t expected_ = 1;  // in the next sync
  Patience between_, within_;  // two writes; one of them
  uint64_t failed_chain_ = 0;  // 0: none; chains begin at 1
  std::string failure_;
  std::thread thread_;
};

}  // namespace turnpike::store

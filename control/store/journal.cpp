#include "control/store/journal.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace turnpike::store {

Journal::Journal(Store store, Deliver deliver)
    : deliver_(std::move(deliver)), store_(std::move(store)), thread_([this] { loop(); }) {}

Journal::~Journal() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Journal::post(Entry entry, uint64_t chain, Done done) {
  enqueue({.entry = std::move(entry), .chain = chain, .done = std::move(done)});
}

void Journal::run(std::function<void(Store&)> work, std::function<void()> done) {
  enqueue({.work = std::move(work), .worked = std::move(done)});
}

void Journal::enqueue(Job job) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Journal::loop() {
  for (;;) {
    std::vector<Job> batch;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      while (!waiting_.empty() && batch.size() < kBatchMax) {
        // A question sees what was posted before it, and stands alone.
        if (waiting_.front().work && !batch.empty()) break;
        batch.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
        if (batch.back().work) break;
      }
    }
    if (batch.front().work) {
      batch.front().work(store_);
      deliver_(std::move(batch.front().worked));
    } else {
      write(batch);
    }
  }
}

void Journal::write(std::vector<Job>& jobs) {
  std::vector<Entry> entries;
  std::vector<Done> written, refused;
  uint64_t newest_chain = 0;
  for (Job& job : jobs) {
    if (std::holds_alternative<Record>(job.entry)) {
      if (job.chain <= failed_chain_) {
        refused.push_back(std::move(job.done));
        continue;
      }
      newest_chain = std::max(newest_chain, job.chain);
    }
    entries.push_back(std::move(job.entry));
    written.push_back(std::move(job.done));
  }
  Result<void, std::string> outcome;
  if (!entries.empty()) outcome = store_.write(entries);
  if (!outcome) {
    failed_chain_ = std::max(failed_chain_, newest_chain);
    failure_ = outcome.error();
  }
  deliver_([written = std::move(written), refused = std::move(refused), failure = failure_,
            outcome = std::move(outcome)] {
    for (const Done& done : refused) done(fail(std::string(failure)));
    for (const Done& done : written) done(outcome);
  });
}

}  // namespace turnpike::store

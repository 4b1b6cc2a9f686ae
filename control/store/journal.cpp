#include "control/store/journal.h"

#include <utility>

namespace turnpike::store {
namespace {

// Takes long to let go, which nobody shall wait for but this thread.
bool is_large(const Record& record) {
  constexpr size_t kEditsMax = 64;
  return record.undo.edits.size() > kEditsMax || record.file != nullptr;
}

}  // namespace

Journal::Journal(Store store, Deliver deliver, std::chrono::microseconds gather_for)
    : deliver_(std::move(deliver)),
      gather_for_(gather_for),
      store_(std::move(store)),
      thread_([this] { loop(); }) {}

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
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(job));
    wake = wanted_ != kNever && (waiting_.size() >= wanted_ || waiting_.back().work);
    if (wake) wanted_ = kNever;  // once is enough
  }
  // After the mutex was let go: who spins asks for it at once.
  posted_.fetch_add(1, std::memory_order_relaxed);
  if (wake) wake_.notify_one();
}

void Journal::loop() {
  while (await_next()) {
    if (taken_.front().work) {
      const Job question = std::move(taken_.front());
      taken_.pop_front();
      question.work(store_);
      deliver_(question.worked);
    } else {
      write();
    }
  }
}

// All that waits; false: nothing does.
bool Journal::take() {
  const std::lock_guard lock(mutex_);
  taken_.swap(waiting_);
  took_ += taken_.size();
  return !taken_.empty();
}

// Whether something came. What is read after it is read under the mutex.
bool Journal::spin(Patience& patience, Clock::time_point until) const {
  bool paid = false;
  if (!patience.has()) return false;
  do {
    for (int i = 0; i < 16 && !paid; ++i) {
      __builtin_ia32_pause();
      paid = posted_.load(std::memory_order_relaxed) > took_;
    }
  } while (!paid && Clock::now() < until);
  patience.learn(paid);
  return paid;
}

// The next is in `taken_`. False: this is the end.
bool Journal::await_next() {
  if (!taken_.empty() || take()) return true;
  if (spin(between_, Clock::now() + kSpinFor)) return take();
  {
    std::unique_lock lock(mutex_);
    wanted_ = 1;
    wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    wanted_ = kNever;
  }
  return take();
}

// The next entry for a sync that has `have` is in `taken_`. False: it waits for no more.
bool Journal::await_entry(size_t have, Clock::time_point until) {
  if (have >= kBatchMax) return false;
  if (taken_.empty() && !take()) {
    if (have >= expected_) return false;
    if (!spin(within_, std::min(until, Clock::now() + kSpinFor))) {
      std::unique_lock lock(mutex_);
      if (waiting_.empty() && !stopping_) {
        // While those of two thirds are written the others come.
        wanted_ = (2 * (expected_ - have) + 2) / 3;
        wake_.wait_until(lock, until, [this] { return stopping_ || wanted_ == kNever; });
        wanted_ = kNever;
      }
    }
    if (!take()) return false;
  }
  return !taken_.front().work;
}

void Journal::write() {
  const auto until = Clock::now() + gather_for_;
  std::vector<Job> jobs;
  uint64_t newest_chain = 0;
  store_.begin();
  while (await_entry(jobs.size(), until)) {
    Job& job = jobs.emplace_back(std::move(taken_.front()));
    taken_.pop_front();
    if (const auto* record = std::get_if<Record>(&job.entry)) {
      job.refused = job.chain <= failed_chain_;
      if (job.refused) continue;
      newest_chain = std::max(newest_chain, job.chain);
      store_.add(job.entry);
      if (is_large(*record)) job.entry = {};
    } else {
      store_.add(job.entry);
    }
  }
  const Result<void, std::string> outcome = store_.sync();
  if (!outcome) {
    failed_chain_ = std::max(failed_chain_, newest_chain);
    failure_ = outcome.error();
  }
  {
    const std::lock_guard lock(mutex_);
    expected_ = std::min(jobs.size() + taken_.size() + waiting_.size(), kBatchMax);
  }
  // Memory goes back to the thread that it came from: to be let go here it would be fought for while that one makes
  // the next entries.
  deliver_([jobs = std::move(jobs), failure = failure_, outcome] {
    for (const Job& job : jobs) {
      job.refused ? job.done(fail(std::string(failure))) : job.done(outcome);
    }
  });
}

}  // namespace turnpike::store

#include "control/store/journal.h"

#include <pthread.h>

#include <utility>

namespace turnpike::store {
namespace {

// Takes long to let go, which nobody shall wait for but this thread.
bool is_large(const Record& record) {
  constexpr size_t kUndoBytesMax = 16 * 1024;
  return record.undo.size() > kUndoBytesMax || record.file != nullptr;
}

}  // namespace

Journal::Journal(Store store, Deliver deliver, std::chrono::microseconds gather_for)
    : deliver_(std::move(deliver)),
      gather_for_(gather_for),
      store_(std::move(store)),
      thread_([this] { loop(); }) {
  pthread_setname_np(thread_.native_handle(), "journal");
}

Journal::~Journal() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Journal::post(Entry entry, uint64_t chain, Done done) {
  enqueue(std::make_unique<Job>(
      Job{.entry = std::move(entry), .chain = chain, .done = std::move(done)}));
}

void Journal::run(std::function<void(Store&)> work, std::function<void()> done) {
  enqueue(std::make_unique<Job>(Job{.work = std::move(work), .worked = std::move(done)}));
}

void Journal::enqueue(JobPointer job) {
  const bool asks = static_cast<bool>(job->work);
  bool enough = false, wake = false;
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(job));
    enough = wanted_ != kNever && (waiting_.size() >= wanted_ || asks);
    if (enough) {
      wanted_ = kNever;  // once is enough
      wake = std::exchange(asleep_, false);
    }
  }
  // After the mutex was let go: who spins asks for it at once.
  if (enough) announced_.fetch_add(1, std::memory_order_relaxed);
  if (wake) wake_.notify_one();
}

void Journal::loop() {
  while (await_next()) {
    if (taken_[next_]->work) {
      const JobPointer question = std::move(taken_[next_++]);
      question->work(store_);
      deliver_(question->worked);
    } else {
      write();
    }
  }
}

// All that waits, when all that was taken is done; false: nothing waits.
bool Journal::take() {
  taken_.clear();
  next_ = 0;
  const std::lock_guard lock(mutex_);
  taken_.swap(waiting_);
  return !taken_.empty();
}

// Whether there was an announcement. What is read after it is read under the mutex.
bool Journal::spin(uint64_t announced, Clock::time_point until) const {
  do {
    for (int i = 0; i < 16; ++i) {
      __builtin_ia32_pause();
      if (announced_.load(std::memory_order_relaxed) != announced) return true;
    }
  } while (Clock::now() < until);
  return false;
}

// Until so many wait, a question among them, time is over or this is the end. With patience it looks before it sleeps.
void Journal::await(size_t wanted, Clock::time_point until, Patience* patience) {
  std::unique_lock lock(mutex_);
  if (stopping_ || waiting_.size() >= wanted) return;
  wanted_ = wanted;
  if (patience != nullptr) {
    const uint64_t announced = announced_.load(std::memory_order_relaxed);
    lock.unlock();
    const bool paid = spin(announced, std::min(until, Clock::now() + kSpinFor));
    patience->learn(paid);
    lock.lock();
  }
  const auto over = [this] { return stopping_ || wanted_ == kNever; };
  asleep_ = true;
  if (until == kEver) {
    wake_.wait(lock, over);
  } else {
    wake_.wait_until(lock, until, over);
  }
  asleep_ = false;
  wanted_ = kNever;
}

// There is a next one. False: this is the end.
bool Journal::await_next() {
  if (has_next() || take()) return true;
  await(1, kEver, between_.has() ? &between_ : nullptr);
  return take();
}

// The next one is an entry for a sync that has `have`. False: it waits for no more.
bool Journal::await_entry(size_t have, Clock::time_point until) {
  if (have >= kBatchMax) return false;
  if (!has_next() && !take()) {
    if (have >= expected_) return false;
    const size_t missing = expected_ - have;
    if (within_.has()) {
      await(std::min(kTogether, (missing + 1) / 2), until, &within_);
    } else {
      // While those of two thirds are written the others come.
      await((2 * missing + 2) / 3, until, nullptr);
    }
    if (!take()) return false;
  }
  return !taken_[next_]->work;
}

void Journal::write() {
  const auto until = Clock::now() + gather_for_;
  const auto all = std::make_shared<std::vector<JobPointer>>();
  std::vector<JobPointer>& jobs = *all;
  jobs.reserve(expected_);
  uint64_t newest_chain = 0;
  store_.begin();
  while (await_entry(jobs.size(), until)) {
    Job& job = *jobs.emplace_back(std::move(taken_[next_++]));
    if (const auto* record = std::get_if<Record>(&job.entry)) {
      if (job.chain <= failed_chain_) {
        job.refused = true;
        continue;
      }
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
    expected_ = std::min(jobs.size() + (taken_.size() - next_) + waiting_.size(), kBatchMax);
  }
  // Memory goes back to the thread that it came from: to be let go here it would be fought for while that one makes
  // the next entries.
  deliver_([all, failure = failure_, outcome] {
    for (JobPointer& job : *all) {
      const Done done = std::move(job->done);
      const bool refused = job->refused;
      job = nullptr;
      refused ? done(fail(std::string(failure))) : done(outcome);
    }
  });
}

}  // namespace turnpike::store

#include "control/store/journal.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

namespace turnpike::store {
namespace {

constexpr size_t kNever = std::numeric_limits<size_t>::max();

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
    wake = waiting_.size() >= wanted_ || waiting_.back().work;
    if (wake) wanted_ = kNever;  // once is enough
  }
  if (wake) wake_.notify_one();
}

void Journal::loop() {
  for (;;) {
    std::optional<Job> question;
    {
      std::unique_lock lock(mutex_);
      wanted_ = 1;
      wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      wanted_ = kNever;
      if (waiting_.empty()) return;
      // It sees what was posted before it.
      if (waiting_.front().work) {
        question = std::move(waiting_.front());
        waiting_.pop_front();
      }
    }
    if (question) {
      question->work(store_);
      deliver_(std::move(question->worked));
    } else {
      write();
    }
  }
}

// The next entries for a sync that has `have`; none: it waits for no more.
std::vector<Journal::Job> Journal::take(size_t have, std::chrono::steady_clock::time_point until) {
  std::vector<Job> jobs;
  std::unique_lock lock(mutex_);
  if (waiting_.empty() && have < expected_ && !stopping_) {
    // To be woken for each would cost whoever posts more than the rows cost here. While those of two thirds are
    // written the others come.
    wanted_ = (2 * (expected_ - have) + 2) / 3;
    wake_.wait_until(lock, until, [this] { return stopping_ || wanted_ == kNever; });
    wanted_ = kNever;
  }
  while (!waiting_.empty() && !waiting_.front().work && have + jobs.size() < kBatchMax) {
    jobs.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return jobs;
}

void Journal::write() {
  const auto until = std::chrono::steady_clock::now() + gather_for_;
  std::vector<Job> all;
  std::vector<Done> written, refused;
  uint64_t newest_chain = 0;
  store_.begin();
  for (;;) {
    std::vector<Job> jobs = take(all.size(), until);
    if (jobs.empty()) break;
    for (Job& job : jobs) {
      if (std::holds_alternative<Record>(job.entry)) {
        if (job.chain <= failed_chain_) {
          refused.push_back(std::move(job.done));
          continue;
        }
        newest_chain = std::max(newest_chain, job.chain);
      }
      store_.add(job.entry);
      written.push_back(std::move(job.done));
    }
    std::ranges::move(jobs, std::back_inserter(all));
  }
  const Result<void, std::string> outcome = store_.sync();
  if (!outcome) {
    failed_chain_ = std::max(failed_chain_, newest_chain);
    failure_ = outcome.error();
  }
  {
    const std::lock_guard lock(mutex_);
    expected_ = std::min(all.size() + waiting_.size(), kBatchMax);
  }
  deliver_(
      [written = std::move(written), refused = std::move(refused), failure = failure_, outcome] {
        for (const Done& done : refused) done(fail(std::string(failure)));
        for (const Done& done : written) done(outcome);
      });
}

}  // namespace turnpike::store

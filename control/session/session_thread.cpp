#include "control/session/session_thread.h"

#include <time.h>

#include <algorithm>
#include <boost/lockfree/spsc_queue.hpp>

#include "dataplane/base/check.h"

namespace turnpike::session {
namespace {

// Steps in one go. Few, because one step may make some peers, and packets wait meanwhile.
constexpr size_t kStepsPerTurn = 4;

uint64_t read_clock(clockid_t clock) noexcept {
  timespec at;
  clock_gettime(clock, &at);
  return static_cast<uint64_t>(at.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(at.tv_nsec);
}

void pause_for(Duration time) noexcept {
  const timespec request{.tv_sec = 0, .tv_nsec = time.count()};
  nanosleep(&request, nullptr);
}

std::string name_of(size_t computing) { return "session-" + std::to_string(computing + 1); }

}  // namespace

struct SessionThread::Queue {
  boost::lockfree::spsc_queue<Steps*, boost::lockfree::capacity<kCommandSlots>> slots;
  ~Queue() {
    slots.consume_all([](Steps* command) { delete command; });
  }
};

SessionThread::SessionThread(const SessionParts& parts, std::optional<unsigned> cpu,
                             const std::vector<unsigned>& more_cpus)
    : more_cpus_(more_cpus),
      session_(with_computing(parts), read_clocks().instant),
      cpu_(cpu),
      reader_(parts.epoch.add_reader()),
      commands_(std::make_unique<Queue>()) {}

SessionParts SessionThread::with_computing(SessionParts parts) {
  for (size_t i = 0; i < more_cpus_.size(); ++i) {
    computing_.push_back(std::make_unique<ComputingThread>());
    rings_.push_back(&computing_.back()->ring());
  }
  parts.computing = rings_;
  return parts;
}

SessionThread::~SessionThread() { stop(); }

Now SessionThread::read_clocks() noexcept {
  return {.instant = {read_clock(CLOCK_MONOTONIC)}, .wall = {read_clock(CLOCK_REALTIME)}};
}

void SessionThread::start() {
  CHECK(!thread_.joinable() && published_.load(std::memory_order_relaxed) != nullptr);
  stopping_.store(false, std::memory_order_relaxed);
  refused_cpus_.clear();
  for (size_t i = 0; i < computing_.size(); ++i) {
    const unsigned cpu = more_cpus_[i];
    if (!computing_[i]->start(name_of(i), cpu)) {
      refused_cpus_.push_back(cpu);
    }
  }
  thread_ = std::thread([this] { run(); });
  if (!place_thread(thread_, "session", cpu_)) refused_cpus_.push_back(*cpu_);
}

std::vector<SessionThread::ThreadTime> SessionThread::thread_times() {
  CHECK(thread_.joinable());
  std::vector<ThreadTime> times = {
      {.name = "session", .cpu = cpu_, .used = time_of_thread(thread_)}};
  for (size_t i = 0; i < computing_.size(); ++i) {
    times.push_back({.name = name_of(i), .cpu = more_cpus_[i], .used = computing_[i]->cpu_time()});
  }
  return times;
}

void SessionThread::stop() {
  if (!thread_.joinable()) return;
  for (pump(); !overflow_.empty(); pump()) pause_for(kSleepMin);
  stopping_.store(true, std::memory_order_release);  // pairs with the acquire in run()
  thread_.join();
  for (const auto& computing : computing_) computing->stop();
}

uint64_t SessionThread::post(Command command) {
  return post_steps([command = std::move(command)](Session& session) {
    command(session);
    return true;
  });
}

uint64_t SessionThread::post_steps(Steps steps) {
  overflow_.push_back(std::make_unique<Steps>(std::move(steps)));
  pump();
  return ++posted_;
}

void SessionThread::pump() {
  while (!overflow_.empty() && commands_->slots.push(overflow_.front().get())) {
    (void)overflow_.front().release();  // the queue's, then the thread's
    overflow_.pop_front();
  }
}

bool SessionThread::wait_for(uint64_t number, Duration limit) {
  const Instant end = read_clocks().instant + limit;
  for (pump(); completed() < number; pump()) {
    if (read_clocks().instant >= end) return false;
    pause_for(kSleepMin);
  }
  return true;
}

size_t SessionThread::run_commands() {
  size_t steps = 0;
  for (; steps < kStepsPerTurn; ++steps) {
    if (current_ == nullptr) {
      Steps* next = nullptr;
      if (!commands_->slots.pop(next)) break;
      current_.reset(next);
    }
    if (!(*current_)(session_)) continue;
    current_.reset();
    ++taken_;
  }
  return steps;
}

void SessionThread::run() {
  reader_.online();
  Duration pause = kSleepMin;
  while (true) {
    // Before the queue is looked at: what was posted before stop() is then seen.
    const bool stopping = stopping_.load(std::memory_order_acquire);
    reader_.begin();
    const size_t commands = run_commands();
    const publish::Snapshot* snapshot = published_.load(std::memory_order_acquire);
    const size_t done = commands + session_.turn(*snapshot, read_clocks());
    // What a command left to the turn is done, too (pairs with the acquire in completed()).
    completed_.store(taken_, std::memory_order_release);
    if (stopping && commands == 0) break;
    if (done != 0) {
      pause = kSleepMin;
    } else {
      sleep_until_work(pause);
    }
  }
  reader_.offline();
}

void SessionThread::sleep_until_work(Duration& pause) {
  const Duration until_timer = session_.next_deadline() - read_clocks().instant;
  // A deadline without end is far in the future or, as a difference, in the past.
  const bool soon = until_timer > Duration::zero() && until_timer < pause;
  // Results are looked for soon; nothing wakes us for them.
  if (session_.computing() != 0) pause = kSleepMin;
  reader_.offline();
  pause_for(soon ? until_timer : pause);
  reader_.online();
  pause = std::min(pause * 2, kSleepMax);
}

}  // namespace turnpike::session

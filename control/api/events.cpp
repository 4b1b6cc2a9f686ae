#include "control/api/events.h"

#include <algorithm>
#include <utility>

namespace turnpike::api {

struct EventHub::Listener {
  std::string pending;
  bool reader = false;  // may only look
  bool closed = false;  // nothing more will come
  std::function<void()> ready;

  void wake() {
    if (ready) std::exchange(ready, {})();
  }
};

class EventHub::Source final : public BodySource {
 public:
  explicit Source(std::shared_ptr<Listener> listener) : listener_(std::move(listener)) {}

  bool next(std::string& out) override {
    out += std::exchange(listener_->pending, {});
    return !listener_->closed;
  }
  bool wait(std::function<void()> ready) override {
    if (!listener_->pending.empty() || listener_->closed) return false;
    listener_->ready = std::move(ready);
    return true;
  }

 private:
  std::shared_ptr<Listener> listener_;
};

EventHub::EventHub() = default;

EventHub::~EventHub() {
  for (const auto& weak : listeners_) {
    if (const auto listener = weak.lock()) {
      listener->closed = true;
      listener->wake();
    }
  }
}

bool EventHub::heard() const noexcept {
  for (const auto& listener : listeners_) {
    if (!listener.expired()) return true;
  }
  return false;
}

void EventHub::publish(const std::string& line) {
  std::erase_if(listeners_, [](const auto& listener) { return listener.expired(); });
  // A copy: whoever is woken may go, and take its entry along.
  const auto listeners = listeners_;
  for (const auto& weak : listeners) {
    const auto listener = weak.lock();
    if (listener == nullptr || listener->closed) continue;
    if (listener->pending.size() + line.size() > kMaxPendingBytes) {
      listener->pending +=
          "{\"event\":\"cut_off\",\"detail\":\"you read more slowly than events come; events from "
          "here on are "
          "not in this stream, look at the state and listen again\"}\n";
      listener->closed = true;
      ++cut_off_;
    } else {
      listener->pending += line;
    }
    listener->wake();
  }
}

std::unique_ptr<BodySource> EventHub::listen(Access access) {
  std::erase_if(listeners_, [](const auto& listener) { return listener.expired(); });
  if (listeners_.size() >= kMaxListeners) return nullptr;
  const bool reader = access != Access::All;
  const auto readers = std::ranges::count_if(listeners_, [](const auto& weak) {
    const auto listener = weak.lock();
    return listener != nullptr && listener->reader;
  });
  if (reader && static_cast<size_t>(readers) >= kMaxListenersOfReaders) return nullptr;
  auto listener = std::make_shared<Listener>();
  listener->reader = reader;
  listeners_.push_back(listener);
  return std::make_unique<Source>(std::move(listener));
}

}  // namespace turnpike::api

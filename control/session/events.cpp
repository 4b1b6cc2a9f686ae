#include "control/session/events.h"

#include <boost/lockfree/spsc_queue.hpp>

namespace turnpike::session {

struct EventQueue::Slots {
  boost::lockfree::spsc_queue<Event, boost::lockfree::capacity<kEventSlots>> queue;
};

EventQueue::EventQueue() : slots_(std::make_unique<Slots>()) {}
EventQueue::~EventQueue() = default;

void EventQueue::push(const Event& event) noexcept {
  if (!slots_->queue.push(event)) lost_.fetch_add(1, std::memory_order_relaxed);
}

std::optional<Event> EventQueue::pop() {
  Event event;
  if (!slots_->queue.pop(event)) return std::nullopt;
  return event;
}

}  // namespace turnpike::session

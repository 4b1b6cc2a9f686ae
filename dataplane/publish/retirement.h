// What was unpublished and waits until no reader can hold it.
//   Threads:   one owner thread. Each side (control, session) has its own.
//   Ownership: holds the objects; `free` is called once for each, in the order of retirement.
#pragma once

#include <cstdint>
#include <deque>
#include <utility>

#include "dataplane/publish/epoch.h"

namespace turnpike::publish {

template <typename Object>
class Retirement {
 public:
  explicit Retirement(Epoch& epoch) noexcept : epoch_(epoch) {}

  // The caller has unpublished `object` already.
  void add(Object object) { waiting_.emplace_back(epoch_.retire(), std::move(object)); }

  // Frees what may be freed, at most `budget` objects. Returns how many still wait.
  template <typename Free>
  size_t collect(Free&& free, size_t budget = ~size_t{0}) {
    while (budget-- > 0 && !waiting_.empty() && epoch_.passed(waiting_.front().first)) {
      Object object = std::move(waiting_.front().second);
      waiting_.pop_front();
      free(std::move(object));
    }
    return waiting_.size();
  }

  [[nodiscard]] size_t size() const noexcept { return waiting_.size(); }

 private:
  Epoch& epoch_;
  std::deque<std::pair<uint64_t, Object>> waiting_;
};

}  // namespace turnpike::publish

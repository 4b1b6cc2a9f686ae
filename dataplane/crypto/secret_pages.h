// Pages for keys: locked into memory where the process may, left out of core dumps, wiped when they
// go.
//   Threads:   as the source beneath.
//   Ownership: the source beneath outlives this one.
#pragma once

#include <atomic>

#include "dataplane/base/pages.h"

namespace turnpike::crypto {

class SecretPages final : public PageSource {
 public:
  explicit SecretPages(PageSource& beneath) noexcept : beneath_(beneath) {}

  [[nodiscard]] void* allocate(size_t bytes) noexcept override;
  void release(void* pages, size_t bytes) noexcept override;

  // False once a lock was refused (RLIMIT_MEMLOCK): keys may then reach swap, worth one line in the
  // log.
  [[nodiscard]] bool all_locked() const noexcept {
    return !lock_refused_.load(std::memory_order_relaxed);
  }

 private:
  PageSource& beneath_;
  std::atomic<bool> lock_refused_{false};
};

}  // namespace turnpike::crypto

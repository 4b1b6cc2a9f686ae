#include "dataplane/crypto/secret_pages.h"

#include <sys/mman.h>

#include "dataplane/base/keys.h"

namespace turnpike::crypto {

void* SecretPages::allocate(size_t bytes) noexcept {
  void* pages = beneath_.allocate(bytes);
  if (pages == nullptr) return nullptr;
  // Both may be refused without harm to anything but secrecy at rest: hugepages are never swapped,
  // and a process without the right to lock must run all the same.
  if (mlock(pages, bytes) != 0) lock_refused_.store(true, std::memory_order_relaxed);
  (void)madvise(pages, bytes, MADV_DONTDUMP);
  return pages;
}

void SecretPages::release(void* pages, size_t bytes) noexcept {
  wipe(pages, bytes);
  (void)munlock(pages, bytes);
  (void)madvise(pages, bytes, MADV_DODUMP);
  beneath_.release(pages, bytes);
}

}  // namespace turnpike::crypto

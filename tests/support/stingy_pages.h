// A source of pages that counts what it gave, and says no when a test wants it to.
#pragma once

#include "dataplane/base/pages.h"

namespace turnpike::test {

// Says no from its `refused`-th answer on, until allowed again.
class StingyPages final : public RoomSource {
 public:
  void* allocate(size_t bytes) noexcept override {
    return take(bytes) ? pages_.allocate(bytes) : nullptr;
  }
  void release(void* pages, size_t bytes) noexcept override {
    out -= bytes;
    pages_.release(pages, bytes);
  }
  // Addresses count like memory: all must come back.
  void* reserve(size_t bytes) noexcept override {
    return take(bytes) ? pages_.reserve(bytes) : nullptr;
  }
  bool back(void* part, size_t bytes) noexcept override {
    return take(bytes) && pages_.back(part, bytes);
  }
  void unback(void* part, size_t bytes) noexcept override {
    out -= bytes;
    pages_.unback(part, bytes);
  }
  void give_up(void* room, size_t bytes) noexcept override {
    out -= bytes;
    pages_.give_up(room, bytes);
  }
  size_t given = 0, out = 0;
  size_t refused = ~size_t{0};

 private:
  bool take(size_t bytes) noexcept {
    if (given == refused) return false;
    ++given;
    out += bytes;
    return true;
  }
  SystemPages pages_;
};

}  // namespace turnpike::test

// The daemon's heap wipes what is freed: request bodies, documents and the strings that libraries make of them
// hold keys, and none of them knows. Replaces the global operators of C++ for the program that links it; the
// packet path frees nothing.
#include <malloc.h>

#include <cstdlib>
#include <new>

#include "dataplane/base/keys.h"

namespace {

void* take(std::size_t bytes) {
  while (true) {
    if (void* memory = std::malloc(bytes != 0 ? bytes : 1)) return memory;
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
}

void* take(std::size_t bytes, std::size_t alignment) {
  void* memory = nullptr;
  while (::posix_memalign(&memory, alignment < sizeof(void*) ? sizeof(void*) : alignment, bytes) !=
         0) {
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
  return memory;
}

void give_back(void* memory) noexcept {
  if (memory == nullptr) return;
  turnpike::wipe(memory, ::malloc_usable_size(memory));
  std::free(memory);
}

}  // namespace

// The forms for arrays and those that do not throw call these.
void* operator new(std::size_t bytes) { return take(bytes); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return take(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { give_back(memory); }
void operator delete(void* memory, std::size_t) noexcept { give_back(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { give_back(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { give_back(memory); }

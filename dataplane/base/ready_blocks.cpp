#include "dataplane/base/ready_blocks.h"

#include <algorithm>
#include <utility>

#include "dataplane/base/helper_thread.h"

namespace turnpike {

ReadyBlocks::ReadyBlocks(PageSource& beneath, const Sizes& sizes_bytes) noexcept
    : beneath_(beneath) {
  for (size_t i = 0; i < blocks_.size(); ++i) blocks_[i].bytes = sizes_bytes[i];
}

ReadyBlocks::~ReadyBlocks() {
  if (started_) {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    pthread_join(helper_, nullptr);
  }
  for (const Block& block : blocks_) {
    if (block.pages != nullptr) beneath_.release(block.pages, block.bytes);
  }
}

void ReadyBlocks::start() noexcept {
  const auto run = [](void* self) -> void* {
    static_cast<ReadyBlocks*>(self)->help();
    return nullptr;
  };
  started_ = make_helper_thread(helper_, "pages", run, this);
}

void* ReadyBlocks::allocate(size_t bytes) noexcept {
  void* pages = nullptr;
  {
    const std::lock_guard lock(mutex_);
    const auto block = std::ranges::find(blocks_, bytes, &Block::bytes);
    if (block != blocks_.end()) {
      pages = std::exchange(block->pages, nullptr);
      block->wanted = true;
    }
  }
  changed_.notify_all();
  return pages != nullptr ? pages : beneath_.allocate(bytes);
}

bool ReadyBlocks::ready(size_t bytes) const noexcept {
  const std::lock_guard lock(mutex_);
  const auto block = std::ranges::find(blocks_, bytes, &Block::bytes);
  return block != blocks_.end() && block->pages != nullptr;
}

ReadyBlocks::Block* ReadyBlocks::wanted() noexcept {
  const auto block = std::ranges::find(blocks_, true, &Block::wanted);
  return block != blocks_.end() ? block : nullptr;
}

void ReadyBlocks::help() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ended_ || wanted() != nullptr; });
    if (changed_.wait_for(lock, kPause, [this] { return ended_; })) return;
    while (Block* block = wanted()) {
      // Where memory is short, none before the next request.
      block->wanted = false;
      lock.unlock();
      void* pages = beneath_.allocate(block->bytes);
      if (pages != nullptr) touch(pages, block->bytes);
      lock.lock();
      // Who asked meanwhile was served by the source beneath: this one is the next of theirs, too.
      if (pages != nullptr) block->wanted = false;
      block->pages = pages;
    }
  }
}

}  // namespace turnpike

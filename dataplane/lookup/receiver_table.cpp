#include "dataplane/lookup/receiver_table.h"

#include <bit>

#include "dataplane/base/check.h"

namespace turnpike::lookup {
namespace {

// With every peer at four keypairs the table is full; long before that a free slot is found at once.
constexpr int kTries = 64;

}  // namespace

ReceiverTable::ReceiverTable(PageSource& pages, uint32_t slots) noexcept
    : pages_(pages),
      mask_(slots - 1),
      slots_(
          static_cast<std::atomic<wireguard::Keypair*>*>(pages.allocate(slots * sizeof(*slots_)))),
      reserved_(slots, false) {
  CHECK(std::has_single_bit(slots));
}

ReceiverTable::~ReceiverTable() {
  if (slots_ != nullptr) pages_.release(slots_, (size_t{mask_} + 1) * sizeof(*slots_));
}

std::optional<uint32_t> ReceiverTable::reserve(RandomSource& random) {
  for (int i = 0; i < kTries; ++i) {
    const uint32_t index = random.next_u32();
    if (reserved_[index & mask_]) continue;
    reserved_[index & mask_] = true;
    return index;
  }
  return std::nullopt;
}

void ReceiverTable::install(uint32_t index, wireguard::Keypair* keypair) noexcept {
  CHECK(reserved_[index & mask_] && find(index) == nullptr && keypair->local_index == index);
  slots_[index & mask_].store(keypair, std::memory_order_release);  // pairs with find()
}

void ReceiverTable::remove(uint32_t index) noexcept {
  CHECK(reserved_[index & mask_]);
  slots_[index & mask_].store(nullptr, std::memory_order_release);
}

void ReceiverTable::release(uint32_t index) noexcept {
  CHECK(reserved_[index & mask_] && find(index) == nullptr);
  reserved_[index & mask_] = false;
}

}  // namespace turnpike::lookup

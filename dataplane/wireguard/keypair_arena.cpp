#include "dataplane/wireguard/keypair_arena.h"

#include <cstddef>
#include <new>

#include "dataplane/base/check.h"

namespace turnpike::wireguard {

KeypairArena::KeypairArena(PageSource& keys, PageSource& bitmaps, uint32_t max_keypairs,
                           RandomSource& random) noexcept
    : indexes_(random),
      key_pages_(keys),
      bitmap_pages_(bitmaps),
      max_keypairs_(max_keypairs),
      zero_slot_(indexes_.place_of(0).slot) {
  CHECK(max_keypairs <= kMaxKeypairs);
}

KeypairArena::~KeypairArena() {
  for (const auto& place : chunks_) {
    std::byte* chunk = place.load(std::memory_order_relaxed);
    if (chunk == nullptr) continue;
    for (ReplayBitmap* bitmaps : KeypairChunk::tail_of(chunk).bitmaps) {
      if (bitmaps != nullptr) bitmap_pages_.release(bitmaps, kHugePageBytes);
    }
    wipe(chunk, KeypairChunk::kBytes);
    key_pages_.release(chunk, KeypairChunk::kBytes);
  }
}

uint32_t KeypairArena::slot_of(const Keypair& keypair) const noexcept {
  const size_t before = size_t{KeypairChunk::tail_of(&keypair).number} * KeypairChunk::kKeypairs;
  return static_cast<uint32_t>(before + KeypairChunk::position_of(&keypair));
}

Keypair& KeypairArena::reserved_keypair(uint32_t index) const noexcept {
  const KeypairPlace place = indexes_.place_of(index);
  CHECK(place.slot < opened_);
  Keypair& keypair = *keypair_at(place.slot);
  CHECK((keypair.sending().life & ~kMade) == (kReserved | place.generation));
  return keypair;
}

uint32_t KeypairArena::index_of(const Keypair& keypair) const noexcept {
  return indexes_.index_of({.slot = slot_of(keypair),
                            .generation = keypair.sending().life % KeypairPlace::kGenerations});
}

// What workers compare with in a slot in which they are to find nothing: an index that leads elsewhere.
uint32_t KeypairArena::vacant(uint32_t slot) const noexcept {
  return slot != zero_slot_ ? 0 : indexes_.index_of({.slot = slot ^ 1, .generation = 0});
}

bool KeypairArena::grow(uint32_t number) noexcept {
  auto* chunk = static_cast<std::byte*>(key_pages_.allocate(KeypairChunk::kBytes));
  if (chunk == nullptr) return false;
  CHECK(reinterpret_cast<uintptr_t>(chunk) % kHugePageBytes == 0);
  const auto first = static_cast<uint32_t>(number * KeypairChunk::kKeypairs);
  for (uint32_t i = 0; i < KeypairChunk::kKeypairs; ++i) {
    auto* keypair = new (chunk + i * sizeof(Keypair)) Keypair();
    new (KeypairChunk::sending_at(keypair)) KeypairSending();
    keypair->local_index.store(vacant(first + i), std::memory_order_relaxed);
  }
  new (chunk + KeypairChunk::kTailAt) KeypairChunk::Tail{.number = number};
  chunks_[number].store(chunk, std::memory_order_release);  // pairs with locate()
  return true;
}

// One that was never in use.
bool KeypairArena::open_slot() noexcept {
  if (opened_ == max_keypairs_) return false;
  const auto number = static_cast<uint32_t>(opened_ / KeypairChunk::kKeypairs);
  if (chunks_[number].load(std::memory_order_relaxed) == nullptr && !grow(number)) return false;
  const Keypair& keypair = *keypair_at(opened_);
  ReplayBitmap*& bitmaps =
      KeypairChunk::tail_of(&keypair)
          .bitmaps[KeypairChunk::position_of(&keypair) / KeypairChunk::kBitmapsOfPage];
  if (bitmaps == nullptr) {
    void* const pages = bitmap_pages_.allocate(kHugePageBytes);
    if (pages == nullptr) return false;
    touch(pages, kHugePageBytes);  // a worker would be held up by it for milliseconds
    bitmaps = static_cast<ReplayBitmap*>(pages);
  }
  ++opened_;
  return true;
}

std::optional<uint32_t> KeypairArena::reserve() noexcept {
  uint32_t slot;
  if (free_ <= kResting && open_slot()) {
    slot = opened_ - 1;
  } else if (free_ > 0) {
    slot = first_free_;
    Keypair& keypair = *keypair_at(slot);
    first_free_ = keypair.sending().remote_index;
    keypair.sending().remote_index = 0;
    --free_;
  } else {
    return std::nullopt;
  }
  Keypair& keypair = *keypair_at(slot);
  DCHECK(keypair.sending().life < KeypairPlace::kGenerations);
  keypair.sending().life |= kReserved;
  return index_of(keypair);
}

Keypair& KeypairArena::make(uint32_t index) noexcept {
  Keypair& keypair = reserved_keypair(index);
  CHECK((keypair.sending().life & kMade) == 0);
  keypair.sending().life |= kMade;
  ++made_;
  // The rest is zero, from pages or from clear().
  keypair.peer = {};
  keypair.tunnel = kNoTunnel;
  return keypair;
}

void KeypairArena::publish(Keypair& keypair) noexcept {
  const uint32_t index = index_of(keypair);
  CHECK((keypair.sending().life & kMade) != 0 && !keypair.answers_to(index));
  keypair.local_index.store(index, std::memory_order_release);  // pairs with answers_to()
}

void KeypairArena::withdraw(Keypair& keypair) noexcept {
  CHECK(keypair.answers_to(index_of(keypair)));
  keypair.local_index.store(vacant(slot_of(keypair)), std::memory_order_release);
}

// All but local_index: a worker may compare it at any time.
void KeypairArena::clear(Keypair& keypair) noexcept {
  static constexpr size_t kBefore = offsetof(Keypair, local_index);
  static constexpr size_t kBehind = kBefore + sizeof(keypair.local_index);
  const uint16_t life = keypair.sending().life;
  auto* bytes = reinterpret_cast<std::byte*>(&keypair);
  wipe(&keypair.bitmap(), sizeof(ReplayBitmap));
  wipe(bytes, kBefore);
  wipe(bytes + kBehind, sizeof(Keypair) - kBehind);
  wipe(&keypair.sending(), sizeof(KeypairSending));
  keypair.sending().life = static_cast<uint16_t>(life & ~kMade);
  --made_;
}

void KeypairArena::unmake(uint32_t index) noexcept {
  Keypair& keypair = reserved_keypair(index);
  CHECK((keypair.sending().life & kMade) != 0 && !keypair.answers_to(index));
  clear(keypair);
}

void KeypairArena::release(uint32_t index) noexcept {
  Keypair& keypair = reserved_keypair(index);
  CHECK(!keypair.answers_to(index));
  if ((keypair.sending().life & kMade) != 0) clear(keypair);
  keypair.sending().life =
      static_cast<uint16_t>((keypair.sending().life + 1) % KeypairPlace::kGenerations);
  const uint32_t slot = slot_of(keypair);
  if (free_ == 0) {
    first_free_ = slot;
  } else {
    keypair_at(last_free_)->sending().remote_index = slot;
  }
  last_free_ = slot;
  ++free_;
}

}  // namespace turnpike::wireguard

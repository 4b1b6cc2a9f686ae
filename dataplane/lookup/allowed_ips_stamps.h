// Stamps: what a look-up gave for an address is what it gives in every later version of the table that has the same
// stamp for it, and no other table of the process ever has that stamp.
//   A version that keeps stamps has some for each of a fixed number of classes of addresses. An edit renews one at least
//   of those of every address that its prefix covers, with a number that the table has not used before. So a stamp may
//   change where the owner does not, but never the other way round.
//   IPv4 has one class for each address, by its /28. IPv6 has three: by its /48, its /64 and its /124.
//   Threads: stamp_of() on any that holds a root which is not retired.
#pragma once

#include <bit>
#include <cstdint>

#include "dataplane/base/address.h"
#include "dataplane/lookup/allowed_ips.h"
#include "dataplane/lookup/allowed_ips_node.h"

namespace turnpike::lookup {

inline constexpr unsigned kStampsLog2 = 10;
inline constexpr uint32_t kStamps = 1u << kStampsLog2;
// A block of lines of 2^order: a version's stamps.
inline constexpr unsigned kStampsOrder = 6;
static_assert(kStamps * sizeof(uint32_t) == kLineBytes << kStampsOrder);

// Equal ones say the same; a default-made one is none, and says nothing. Of IPv4 the first word is 0.
struct Stamp {
  uint64_t words[2] = {0, 0};  // the era, which is not 0, is in the second one
  [[nodiscard]] bool is_none() const noexcept { return words[1] == 0; }
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

// Stamps side by side, 2^bits of them, for blocks of addresses. Neighbouring blocks have neighbouring ones, so that what
// an aligned run of blocks has is a run; what is above it is mixed in, so that nets of one shape do not share theirs.
struct StampClasses {
  uint32_t begin;
  unsigned bits;

  [[nodiscard]] constexpr uint32_t of(uint64_t block, uint64_t net = 0) const noexcept {
    constexpr uint64_t kOdd = 0x9e37'79b9'7f4a'7c15;
    const uint64_t mixed = ((block >> bits) + std::rotl(net, 32)) * kOdd >> (64 - bits);
    return begin + static_cast<uint32_t>((block ^ mixed) & ((uint64_t{1} << bits) - 1));
  }
};
inline constexpr StampClasses kStampsV4{.begin = 0, .bits = kStampsLog2};
inline constexpr StampClasses kStampsOf48{.begin = 0, .bits = 8};
inline constexpr StampClasses kStampsOf64{.begin = 256, .bits = 9};
inline constexpr StampClasses kStampsOf124{.begin = 768, .bits = 8};

struct StampRange {
  uint32_t first;
  uint32_t count;
};
// Those that an edit of the prefix renews.
[[nodiscard]] StampRange stamps_below(const Prefix& prefix) noexcept;

// The stamps of one version, if it keeps any.
class StampsOfVersion {
 public:
  StampsOfVersion() noexcept = default;
  explicit StampsOfVersion(const void* root) noexcept {
    const auto* line = static_cast<const RootLine*>(root);
    if (line == nullptr || line->stamps == 0) return;
    stamps_ = reinterpret_cast<const uint32_t*>(at(line->base, line->stamps));
    era_ = uint64_t{line->era} << 32;
  }
  [[nodiscard]] bool has_any() const noexcept { return stamps_ != nullptr; }
  [[nodiscard]] uint32_t era() const noexcept { return static_cast<uint32_t>(era_ >> 32); }
  // Where there are any: of IPv4 what a stamp has beside the era.
  [[nodiscard]] uint32_t number_of(uint32_t address) const noexcept {
    return stamps_[kStampsV4.of(address >> 4)];
  }
  [[nodiscard]] Stamp of(uint32_t address) const noexcept {
    return {.words = {0, era_ | number_of(address)}};
  }
  [[nodiscard]] Stamp of(const Ipv6Key& address) const noexcept {
    return {.words = {uint64_t{stamps_[kStampsOf48.of(address.high >> 16)]} << 32 |
                          stamps_[kStampsOf64.of(address.high)],
                      era_ | stamps_[kStampsOf124.of(address.low >> 4, address.high)]}};
  }

 private:
  const uint32_t* stamps_ = nullptr;
  uint64_t era_ = 0;
};

// None where the version keeps none.
[[nodiscard]] inline Stamp stamp_of(RootV4 root, uint32_t address) noexcept {
  const StampsOfVersion stamps(root.node);
  return stamps.has_any() ? stamps.of(address) : Stamp{};
}
[[nodiscard]] inline Stamp stamp_of(RootV6 root, const Ipv6Key& address) noexcept {
  const StampsOfVersion stamps(root.node);
  return stamps.has_any() ? stamps.of(address) : Stamp{};
}

// Numbers that one table has not used before: one for each batch. With those of an era used up comes the next era, which
// is no other table's.
class StampClock {
 public:
  explicit StampClock(uint32_t used = 0) noexcept : number_(used) {}
  void advance() noexcept;
  [[nodiscard]] uint32_t era() const noexcept { return era_; }
  [[nodiscard]] uint32_t number() const noexcept { return number_; }

 private:
  [[nodiscard]] static uint32_t next_era() noexcept;
  uint32_t number_;
  uint32_t era_ = next_era();
};

}  // namespace turnpike::lookup

#include "dataplane/lookup/allowed_ips_stamps.h"

#include <atomic>

#include "dataplane/base/check.h"

namespace turnpike::lookup {
namespace {

// A run of this many is renewed; a prefix of more blocks renews what stands for all of a net around it.
constexpr unsigned kRunLog2 = 6;

// 2^log2 of those around the block's.
StampRange run(const StampClasses& classes, unsigned log2, uint64_t block, uint64_t net = 0) {
  const uint32_t count = 1u << log2;
  const uint32_t within = classes.of(block, net) - classes.begin;
  return {.first = classes.begin + (within & ~(count - 1)), .count = count};
}

// Log2 of the blocks of `block_length` bits that a prefix of `length` bits covers, or that cover it.
unsigned blocks_log2(unsigned length, unsigned block_length) {
  return length >= block_length ? 0 : block_length - length;
}

}  // namespace

StampRange stamps_below(const Prefix& prefix) noexcept {
  const unsigned length = prefix.length;
  if (prefix.address.is_v4()) {
    const unsigned log2 = blocks_log2(length, 28);
    if (log2 >= kStampsV4.bits) return {.first = kStampsV4.begin, .count = kStamps};
    return run(kStampsV4, log2, prefix.address.v4_host_order() >> 4);
  }
  const uint64_t high = load_be64(prefix.address.bytes.data());
  const uint64_t low = load_be64(prefix.address.bytes.data() + 8);
  if (length > 64) {
    const unsigned log2 = blocks_log2(length, 124);
    return log2 <= kRunLog2 ? run(kStampsOf124, log2, low >> 4, high) : run(kStampsOf64, 0, high);
  }
  if (const unsigned log2 = blocks_log2(length, 64); log2 <= kRunLog2) {
    return run(kStampsOf64, log2, high);
  }
  const unsigned log2 = blocks_log2(length, 48);
  if (log2 >= kStampsOf48.bits)
    return {.first = kStampsOf48.begin, .count = 1u << kStampsOf48.bits};
  return run(kStampsOf48, log2, high >> 16);
}

void StampClock::advance() noexcept {
  if (++number_ == 0) era_ = next_era();
}

uint32_t StampClock::next_era() noexcept {
  static std::atomic<uint32_t> last{0};
  const uint32_t era = last.fetch_add(1, std::memory_order_relaxed) + 1;
  CHECK(era != 0);
  return era;
}

}  // namespace turnpike::lookup

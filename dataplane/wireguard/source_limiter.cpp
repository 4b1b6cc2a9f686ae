#include "dataplane/wireguard/source_limiter.h"

#include <algorithm>

namespace turnpike::wireguard {
namespace {

std::array<uint8_t, 16> source_of(const IpAddress& address) noexcept {
  std::array<uint8_t, 16> source{};
  const size_t significant_bytes = address.is_v4() ? 4 : 8;
  std::copy_n(address.bytes.begin(), significant_bytes, source.begin());
  source[15] = address.is_v4() ? 4 : 6;  // never part of a /64 nor of an IPv4 address
  return source;
}

}  // namespace

SourceLimiter::SourceLimiter(RandomSource& random)
    : sets_(std::make_unique<std::array<Set, kSets>>()) {
  random.fill(key_);
}

bool SourceLimiter::allow(const IpAddress& address, Instant now) noexcept {
  const std::array<uint8_t, 16> source = source_of(address);
  Set& set = (*sets_)[crypto::siphash(key_, source) % kSets];
  const auto is_free = [now](const Entry& entry) {
    return entry.full_at.is_never() || entry.full_at <= now;
  };
  Entry* place = nullptr;
  for (Entry& entry : set) {
    if (!is_free(entry) && entry.source == source) {
      // Full at `full_at` and a token each kCost: what is left now is kDepth less the time until then.
      if (entry.full_at + kCost - now > kDepth) return false;
      entry.full_at = entry.full_at + kCost;
      return true;
    }
    if (place == nullptr && is_free(entry)) place = &entry;
  }
  if (place == nullptr) return false;
  *place = {.source = source, .full_at = now + kCost};
  return true;
}

}  // namespace turnpike::wireguard

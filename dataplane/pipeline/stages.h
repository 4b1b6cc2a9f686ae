// Where the cycles of a burst go, by stage: for benchmarks. Off, it costs a test of one pointer for each
// stage of a burst.
#pragma once

#include <x86intrin.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace turnpike::pipeline {

enum class Stage : uint8_t {
  Parse,
  Owners,  // outbound: look-up of destinations
  Keypairs,  // outbound: grouping, keypairs, endpoints
  Prepare,  // outbound: nonces
  Write,  // outbound: headers
  Seal,
  Transmit,  // outbound: checksums, tx
  Demultiplex,  // inbound: receiver indexes, keypairs, grouping
  Open,
  Accept,  // inbound: replay windows, times, roaming
  Inner,  // inbound: inner headers
  Sources,  // inbound: look-up of sources
  Deliver,  // inbound: look-ups of destinations, next hops, tx
  kCount
};

inline constexpr std::array<std::string_view, static_cast<size_t>(Stage::kCount)> kStageNames = {
    "parse",       "owners", "keypairs", "prepare", "write",   "seal",   "transmit",
    "demultiplex", "open",   "accept",   "inner",   "sources", "deliver"};

struct StageCycles {
  std::array<uint64_t, static_cast<size_t>(Stage::kCount)> cycles{};  // of the TSC
  uint64_t since = 0;

  void start() noexcept { since = __rdtsc(); }
  // What ran since the last call belongs to `stage`.
  void mark(Stage stage) noexcept {
    const uint64_t now = __rdtsc();
    cycles[static_cast<size_t>(stage)] += now - since;
    since = now;
  }
};

}  // namespace turnpike::pipeline

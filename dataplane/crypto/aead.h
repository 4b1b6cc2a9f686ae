// The transport AEAD, ChaCha20-Poly1305 (RFC 8439), over an array of jobs: the whole burst of one
// direction at once, any mix of keys and lengths. Nothing may assume that packets are sealed one by
// one.
//   Threads:   one object for each worker; an object is used by its owner only.
//   Ownership: jobs point into the caller's buffers and keys, which outlive the call.
//   Bounds:    up to kBurstMax jobs a call.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "dataplane/base/limits.h"

namespace turnpike::crypto {

inline constexpr size_t kAuthTagBytes = 16;

// One message, worked on in place: `length_bytes` of text at `data`, and the tag in the sixteen
// bytes after it (written by seal, read by open).
struct AeadJob {
  const uint8_t* key;  // 32 bytes
  uint64_t counter;  // the nonce is four zero bytes and this, little endian (WireGuard, 5.4.6)
  uint8_t* data;
  uint32_t length_bytes;  // of the text, without the tag; may be 0
};

class Aead {
 public:
  virtual ~Aead() = default;
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  virtual void seal(std::span<const AeadJob> jobs) noexcept = 0;
  // authentic[i] becomes 1 or 0. Tags are compared in constant time; where the tag is wrong the
  // text is wiped, so that nobody works on a plaintext that was not authentic.
  virtual void open(std::span<const AeadJob> jobs, std::span<uint8_t> authentic) noexcept = 0;
};

enum class AeadBackend : uint8_t { Auto, IpsecMb, Libsodium };

// nullptr when the backend cannot work on this machine. Auto: ipsec-mb where it works, else
// libsodium.
[[nodiscard]] std::unique_ptr<Aead> make_aead(AeadBackend backend);

// As the configuration writes it: "auto", "ipsec-mb", "libsodium".
[[nodiscard]] std::string_view to_string(AeadBackend backend) noexcept;
[[nodiscard]] std::optional<AeadBackend> parse_aead_backend(std::string_view name) noexcept;

}  // namespace turnpike::crypto

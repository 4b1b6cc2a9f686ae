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

#include "dataplane/base/check.h"
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
  // `sealed` has room for each. True: all are sealed, and what is in it means nothing. False: sealed[i] says for each whether it is (1 or 0), and
  // the text of the others is wiped. Only a device can fail so.
  [[nodiscard]] virtual bool try_seal(std::span<const AeadJob> jobs,
                                      std::span<uint8_t> sealed) noexcept = 0;
  // authentic[i] becomes 1 or 0. Tags are compared in constant time (by a device: as it does it); where the tag is wrong the
  // text is wiped, so that nobody works on a plaintext that was not authentic.
  virtual void open(std::span<const AeadJob> jobs, std::span<uint8_t> authentic) noexcept = 0;

  // For who has no use for a failure.
  void seal(std::span<const AeadJob> jobs) noexcept {
    std::array<uint8_t, kBurstMax> sealed;
    CHECK(try_seal(jobs, sealed));
  }
};

enum class AeadDirection : uint8_t { Seal, Open };

// Of a back end that keeps something of its own for each key, as devices do (a session). It knows a key by its
// address, and all its Aeads share what it keeps.
//   Threads:   one, the session thread; workers use their Aead meanwhile.
//   Ownership: the back end copies the key, and wipes its copy in forget() and when it ends.
class AeadKeys {
 public:
  virtual ~AeadKeys() = default;
  // Before the first job with this key. False: there is no room, or the device wants no more; nothing is kept.
  [[nodiscard]] virtual bool admit(const uint8_t* key, AeadDirection direction) noexcept = 0;
  // When no job uses it any more. What was not admitted is not known: nothing happens.
  virtual void forget(const uint8_t* key, AeadDirection direction) noexcept = 0;
};

// Cryptodev is a device of DPDK's: io/crypto_device.h makes it.
enum class AeadBackend : uint8_t { Auto, IpsecMb, Libsodium, Cryptodev };

// nullptr when the backend cannot work on this machine, and for a device. Auto: ipsec-mb where it works, else
// libsodium.
[[nodiscard]] std::unique_ptr<Aead> make_aead(AeadBackend backend);

// As the configuration writes it: "auto", "ipsec-mb", "libsodium", "cryptodev".
[[nodiscard]] std::string_view to_string(AeadBackend backend) noexcept;
[[nodiscard]] std::optional<AeadBackend> parse_aead_backend(std::string_view name) noexcept;

}  // namespace turnpike::crypto

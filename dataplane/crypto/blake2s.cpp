#include "dataplane/crypto/blake2s.h"

#include <blake2.h>

#include <cstring>

#include "dataplane/base/check.h"

namespace turnpike::crypto {
namespace {

// libb2's state, wiped when it dies: it holds key material and what was hashed last.
class State {
 public:
  State(Bytes key, size_t out_bytes) noexcept {
    CHECK(out_bytes >= 1 && out_bytes <= kHashBytes && key.size() <= BLAKE2S_KEYBYTES);
    if (key.empty()) {
      CHECK(blake2s_init(&state_, out_bytes) == 0);
    } else {
      CHECK(blake2s_init_key(&state_, out_bytes, key.data(), key.size()) == 0);
    }
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { wipe(&state_, sizeof(state_)); }

  void update(Bytes bytes) noexcept {
    if (!bytes.empty()) blake2s_update(&state_, bytes.data(), bytes.size());
  }
  void finish(MutableBytes out) noexcept { blake2s_final(&state_, out.data(), out.size()); }

 private:
  blake2s_state state_;
};

// The outputs after the first: T(n) = Hmac(secret, T(n-1) || n).
void expand(Bytes secret, Bytes before, uint8_t number, KdfOut out) noexcept {
  hmac_blake2s(secret, {before, Bytes(&number, 1)}, out);
}

}  // namespace

Hash blake2s(std::initializer_list<Bytes> parts) noexcept {
  Hash out;
  blake2s_keyed({}, parts, out);
  return out;
}

void blake2s_keyed(Bytes key, std::initializer_list<Bytes> parts, MutableBytes out) noexcept {
  State state(key, out.size());
  for (const Bytes part : parts) state.update(part);
  state.finish(out);
}

Mac blake2s_mac(Bytes key, std::initializer_list<Bytes> parts) noexcept {
  Mac out;
  blake2s_keyed(key, parts, out);
  return out;
}

void hmac_blake2s(Bytes key, std::initializer_list<Bytes> parts,
                  std::span<uint8_t, kHashBytes> out) noexcept {
  CHECK(key.size() <= BLAKE2S_BLOCKBYTES);
  std::array<uint8_t, BLAKE2S_BLOCKBYTES> block{};
  if (!key.empty()) std::memcpy(block.data(), key.data(), key.size());
  Hash inner;
  {
    for (uint8_t& byte : block) byte ^= 0x36;
    State state({}, kHashBytes);
    state.update(block);
    for (const Bytes part : parts) state.update(part);
    state.finish(inner);
  }
  for (uint8_t& byte : block) byte ^= 0x36 ^ 0x5c;
  State state({}, kHashBytes);
  state.update(block);
  state.update(inner);
  state.finish(out);
  wipe(block.data(), block.size());
  wipe(inner.data(), inner.size());
}

void kdf1(Bytes key, Bytes input, KdfOut first) noexcept {
  Hash secret;
  hmac_blake2s(key, {input}, secret);
  expand(secret, {}, 1, first);
  wipe(secret.data(), secret.size());
}

void kdf2(Bytes key, Bytes input, KdfOut first, KdfOut second) noexcept {
  Hash secret;
  hmac_blake2s(key, {input}, secret);
  expand(secret, {}, 1, first);
  expand(secret, first, 2, second);
  wipe(secret.data(), secret.size());
}

void kdf3(Bytes key, Bytes input, KdfOut first, KdfOut second, KdfOut third) noexcept {
  Hash secret;
  hmac_blake2s(key, {input}, secret);
  expand(secret, {}, 1, first);
  expand(secret, first, 2, second);
  expand(secret, second, 3, third);
  wipe(secret.data(), secret.size());
}

}  // namespace turnpike::crypto

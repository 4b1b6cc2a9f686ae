// The AEAD by a crypto device of DPDK's that has ChaCha20-Poly1305: a card, or a driver in software. One queue
// pair for each worker; one session for each key and direction.
//   Threads:   open(), aead(), measure() and the end on the main thread, before and after workers run; admit() and
//              forget() on the session thread (measure() uses them before it runs); each Aead on its worker.
//   Ownership: the device owns sessions and queues; what aead() gave ends before it.
//   Bounds:    `sessions` keys in all; admit() says no beyond. A burst may be larger than a queue.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/result.h"
#include "dataplane/base/time.h"
#include "dataplane/crypto/aead.h"
#include "dataplane/io/session_table.h"

struct rte_mempool;

namespace turnpike::io {

struct CryptoDeviceOptions {
  std::string device;  // as in the configuration: a PCI address or a DPDK vdev
  uint16_t queue_pairs = 1;  // one for each worker
  uint32_t sessions = 16'384;
  uint32_t descriptors = 512;  // of a queue pair
  // For tests: do so where devices take virtual addresses, too.
  bool look_up_addresses = false;
  // For tests: drivers refuse a session with another length, some when they have copied the key.
  uint16_t tag_bytes = crypto::kAuthTagBytes;
};

class CryptoDevice final : public crypto::AeadKeys {
 public:
  // Probes, checks what it can, configures and starts; the error is one line that says what there is instead.
  [[nodiscard]] static Result<std::unique_ptr<CryptoDevice>, std::string> open(
      const CryptoDeviceOptions& options);
  ~CryptoDevice() override;  // wipes sessions that were not forgotten
  CryptoDevice(const CryptoDevice&) = delete;
  CryptoDevice& operator=(const CryptoDevice&) = delete;

  // Of queue pair `queue_pair`; nullptr when memory is short.
  [[nodiscard]] std::unique_ptr<crypto::Aead> aead(uint16_t queue_pair);
  // Sealed bits a second, by queue pair 0, of which no aead() exists; 0 when it does not seal. `clock` is monotonic.
  [[nodiscard]] double measure(Instant (*clock)());

  [[nodiscard]] bool admit(const uint8_t* key, crypto::AeadDirection direction) noexcept override;
  void forget(const uint8_t* key, crypto::AeadDirection direction) noexcept override;

  [[nodiscard]] const std::string& driver() const noexcept { return driver_; }
  // Any thread.
  [[nodiscard]] size_t sessions_in_use() const noexcept {
    return sealing_.size() + opening_.size();
  }
  // For tests: whether these bytes lie anywhere in the memory of sessions.
  [[nodiscard]] bool session_memory_has(std::span<const uint8_t> bytes) const;

 private:
  explicit CryptoDevice(const CryptoDeviceOptions& options)
      : look_up_addresses_(options.look_up_addresses),
        tag_bytes_(options.tag_bytes),
        sessions_max_(options.sessions),
        sealing_(options.sessions),
        opening_(options.sessions) {}
  [[nodiscard]] std::string find_device(const CryptoDeviceOptions& options);
  [[nodiscard]] std::string check(const CryptoDeviceOptions& options) const;
  [[nodiscard]] std::string configure(const CryptoDeviceOptions& options);
  void drop_session(void* session) noexcept;
  void take_back_wiped() noexcept;
  [[nodiscard]] SessionTable& table(crypto::AeadDirection direction) noexcept {
    return direction == crypto::AeadDirection::Seal ? sealing_ : opening_;
  }

  static constexpr int kNone = -1;
  int id_ = kNone;  // DPDK's
  bool probed_ = false;  // by us, so that we take it away again
  bool started_ = false;
  bool look_up_addresses_;
  uint16_t tag_bytes_;
  std::string driver_;
  size_t sessions_max_;
  rte_mempool* session_pool_ = nullptr;
  // What is free of the pool: in the pool itself is only what DPDK is to take, so that it is known what that was.
  std::vector<void*> free_sessions_;
  SessionTable sealing_, opening_;
};

}  // namespace turnpike::io

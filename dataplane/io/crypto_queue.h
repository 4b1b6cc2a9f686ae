// One queue pair of a crypto device as an AEAD: a burst goes in whole, and is polled for until all of it is out.
//   Threads:   its worker.
//   Ownership: of the operations and of the mbufs that stand for the caller's buffers, for life: nothing is
//              allocated for a burst.
//   Memory:    where devices do not take virtual addresses, buffers must be DPDK's; a job with another one fails.
//   Bounds:    as Aead; a queue may be shorter than a burst. A device that holds what it took for a second stops
//              the process: the buffers are still its own, and nobody else may be given them.
#pragma once

#include <array>
#include <memory>
#include <optional>

#include "dataplane/crypto/aead.h"
#include "dataplane/io/session_table.h"

struct rte_crypto_op;
struct rte_mbuf;
struct rte_mempool;

namespace turnpike::io {

// Where a device finds this memory, which is not empty; nullopt: nowhere in one piece, or it is not DPDK's. Any
// thread; no system call.
[[nodiscard]] std::optional<uint64_t> device_address(std::span<const uint8_t> memory) noexcept;

class CryptoQueue final : public crypto::Aead {
 public:
  // nullptr when memory is short. The tables outlive it. `look_up_addresses`: also where virtual ones would do.
  [[nodiscard]] static std::unique_ptr<CryptoQueue> make(uint8_t device, uint16_t queue_pair,
                                                         const SessionTable& sealing,
                                                         const SessionTable& opening,
                                                         bool look_up_addresses);
  ~CryptoQueue() override;
  CryptoQueue(const CryptoQueue&) = delete;
  CryptoQueue& operator=(const CryptoQueue&) = delete;

  [[nodiscard]] std::string_view name() const noexcept override {
    return to_string(crypto::AeadBackend::Cryptodev);
  }
  bool try_seal(std::span<const crypto::AeadJob> jobs, std::span<uint8_t> sealed) noexcept override;
  void open(std::span<const crypto::AeadJob> jobs, std::span<uint8_t> authentic) noexcept override;

  // Of the nonce in an operation: what sessions are told.
  static constexpr uint16_t kNonceBytes = 12;
  [[nodiscard]] static uint16_t nonce_offset() noexcept;

 private:
  CryptoQueue(uint8_t device, uint16_t queue_pair, const SessionTable& sealing,
              const SessionTable& opening, bool look_up_addresses) noexcept
      : device_(device),
        queue_pair_(queue_pair),
        look_up_addresses_(look_up_addresses),
        sealing_(sealing),
        opening_(opening) {}
  // done[i]: whether the device did job i. Returns how many it did.
  size_t run(const SessionTable& sessions, std::span<const crypto::AeadJob> jobs,
             std::span<uint8_t> done) noexcept;
  // Whether the device can reach the job's buffer.
  [[nodiscard]] bool prepare(size_t place, const crypto::AeadJob& job, void* session) noexcept;
  void exchange(rte_crypto_op** batch, size_t count, std::span<uint8_t> done) noexcept;

  uint8_t device_;
  uint16_t queue_pair_;
  bool look_up_addresses_;
  const SessionTable& sealing_;
  const SessionTable& opening_;
  rte_mempool* op_pool_ = nullptr;
  rte_mempool* mbuf_pool_ = nullptr;
  // By place in the burst.
  std::array<rte_crypto_op*, kBurstMax> ops_{};
  std::array<rte_mbuf*, kBurstMax> mbufs_{};
};

}  // namespace turnpike::io

#include "dataplane/io/crypto_queue.h"

#include <rte_crypto.h>
#include <rte_cryptodev.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_mbuf.h>
#include <rte_memory.h>

#include <string>

#include "dataplane/base/bytes.h"
#include "dataplane/base/keys.h"

namespace turnpike::io {
namespace {

// Behind the operation itself. There is no associated data, but drivers look at the address.
struct Private {
  uint8_t nonce[16];
  uint8_t no_associated_data[16];
  size_t place;  // in the burst
};
constexpr uint16_t kPrivateOffset = sizeof(rte_crypto_op) + sizeof(rte_crypto_sym_op);

Private& private_of(rte_crypto_op* op) noexcept {
  return *rte_crypto_op_ctod_offset(op, Private*, kPrivateOffset);
}

constexpr uint64_t kNoAddress = RTE_BAD_IOVA;

uint64_t address_in_segment(const uint8_t* byte) noexcept {
  const rte_memseg* const segment = rte_mem_virt2memseg(byte, nullptr);
  if (segment == nullptr || segment->addr == nullptr || segment->iova == RTE_BAD_IOVA) {
    return kNoAddress;
  }
  return segment->iova + static_cast<uint64_t>(byte - static_cast<const uint8_t*>(segment->addr));
}

// How long nothing has moved.
class Patience {
 public:
  void reset() noexcept { polls_ = 0; }
  // For a device that has nothing and takes nothing.
  [[nodiscard]] bool refused() noexcept { return ++polls_ > kPollsOfRefusal; }
  // For one that has something. Time alone would count what a pre-empted worker slept.
  [[nodiscard]] bool ended() noexcept {
    if (++polls_ == 1) began_ = rte_rdtsc();
    return polls_ > kPollsAtLeast && rte_rdtsc() - began_ > rte_get_tsc_hz();
  }

 private:
  static constexpr uint64_t kPollsOfRefusal = 1'000;
  static constexpr uint64_t kPollsAtLeast = 100'000;
  uint64_t polls_ = 0;
  uint64_t began_ = 0;
};

}  // namespace

// Not by rte_mem_virt2iova(), which asks the kernel for a physical address: four system calls for each packet.
std::optional<uint64_t> device_address(std::span<const uint8_t> memory) noexcept {
  const uint64_t first = address_in_segment(memory.data());
  const uint64_t last = address_in_segment(memory.data() + memory.size() - 1);
  // Segments side by side need not be so to the device.
  if (first == kNoAddress || last == kNoAddress || last - first != memory.size() - 1) {
    return std::nullopt;
  }
  return first;
}

uint16_t CryptoQueue::nonce_offset() noexcept { return kPrivateOffset + offsetof(Private, nonce); }

std::unique_ptr<CryptoQueue> CryptoQueue::make(uint8_t device, uint16_t queue_pair,
                                               const SessionTable& sealing,
                                               const SessionTable& opening,
                                               bool look_up_addresses) {
  std::unique_ptr<CryptoQueue> queue(
      new CryptoQueue(device, queue_pair, sealing, opening,
                      look_up_addresses || rte_eal_iova_mode() != RTE_IOVA_VA));
  const std::string name = "crypto-" + std::to_string(device) + "-" + std::to_string(queue_pair);
  const int numa_node = rte_cryptodev_socket_id(device);
  queue->op_pool_ = rte_crypto_op_pool_create((name + "-ops").c_str(), RTE_CRYPTO_OP_TYPE_SYMMETRIC,
                                              kBurstMax, 0, sizeof(Private), numa_node);
  // Their buffers are the caller's.
  queue->mbuf_pool_ =
      rte_pktmbuf_pool_create((name + "-mbufs").c_str(), kBurstMax, 0, 0, 0, numa_node);
  if (queue->op_pool_ == nullptr || queue->mbuf_pool_ == nullptr ||
      rte_crypto_op_bulk_alloc(queue->op_pool_, RTE_CRYPTO_OP_TYPE_SYMMETRIC, queue->ops_.data(),
                               kBurstMax) != kBurstMax ||
      rte_mempool_get_bulk(queue->mbuf_pool_, reinterpret_cast<void**>(queue->mbufs_.data()),
                           kBurstMax) != 0) {
    return nullptr;
  }
  for (size_t place = 0; place < kBurstMax; ++place) {
    Private& own = private_of(queue->ops_[place]);
    own = {};
    own.place = place;
    queue->ops_[place]->sym->m_src = queue->mbufs_[place];
  }
  return queue;
}

CryptoQueue::~CryptoQueue() {
  rte_mempool_free(op_pool_);
  rte_mempool_free(mbuf_pool_);
}

bool CryptoQueue::prepare(size_t place, const crypto::AeadJob& job, void* session) noexcept {
  rte_mbuf& mbuf = *mbufs_[place];
  const auto bytes = static_cast<uint16_t>(job.length_bytes + crypto::kAuthTagBytes);
  auto address = reinterpret_cast<uint64_t>(job.data);
  if (look_up_addresses_) {
    const auto found = device_address({job.data, bytes});
    if (!found) [[unlikely]]
      return false;
    address = *found;
  }
  mbuf.buf_addr = job.data;
  rte_mbuf_iova_set(&mbuf, address);
  mbuf.buf_len = bytes;
  mbuf.data_off = 0;
  mbuf.data_len = bytes;
  mbuf.pkt_len = bytes;

  rte_crypto_op& op = *ops_[place];
  op.status = RTE_CRYPTO_OP_STATUS_NOT_PROCESSED;
  op.sess_type = RTE_CRYPTO_OP_WITH_SESSION;
  Private& own = private_of(&op);
  store_le32(own.nonce, 0);
  store_le64(own.nonce + 4, job.counter);
  rte_crypto_sym_op& sym = *op.sym;
  sym.session = session;
  sym.m_src = &mbuf;
  sym.m_dst = nullptr;  // in place
  sym.aead.data.offset = 0;
  sym.aead.data.length = job.length_bytes;
  sym.aead.digest.data = job.data + job.length_bytes;
  sym.aead.digest.phys_addr = rte_mbuf_iova_get(&mbuf) + job.length_bytes;
  sym.aead.aad.data = own.no_associated_data;
  sym.aead.aad.phys_addr =
      rte_crypto_op_ctophys_offset(&op, kPrivateOffset + offsetof(Private, no_associated_data));
  return true;
}

void CryptoQueue::exchange(rte_crypto_op** batch, size_t count, std::span<uint8_t> done) noexcept {
  size_t begun = 0;  // of the batch: given to the device, or given up
  size_t ended = 0;  // back from it, or given up
  Patience patience;
  while (ended < count) {
    uint16_t taken = 0;
    if (begun < count) {
      taken = rte_cryptodev_enqueue_burst(device_, queue_pair_, batch + begun,
                                          static_cast<uint16_t>(count - begun));
    }
    rte_crypto_op* finished[kBurstMax];
    const uint16_t back = rte_cryptodev_dequeue_burst(device_, queue_pair_, finished,
                                                      static_cast<uint16_t>(kBurstMax));
    for (uint16_t i = 0; i < back; ++i) {
      done[private_of(finished[i]).place] = finished[i]->status == RTE_CRYPTO_OP_STATUS_SUCCESS;
    }
    begun += taken;
    ended += back;
    if (taken + back != 0) {
      patience.reset();
    } else if (begun == ended) {
      // It holds nothing of ours and does not want the next one: that one has failed.
      if (!patience.refused()) continue;
      patience.reset();
      ++begun;
      ++ended;
    } else {
      const bool device_hangs = patience.ended();
      CHECK(!device_hangs);
    }
  }
}

size_t CryptoQueue::run(const SessionTable& sessions, std::span<const crypto::AeadJob> jobs,
                        std::span<uint8_t> done) noexcept {
  CHECK(jobs.size() <= kBurstMax && done.size() >= jobs.size());
  for (const crypto::AeadJob& job : jobs) sessions.prefetch_entry(job.key);
  rte_crypto_op* batch[kBurstMax];
  size_t count = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    done[i] = 0;
    void* const session = sessions.find(jobs[i].key);
    if (session == nullptr || !prepare(i, jobs[i], session)) [[unlikely]]
      continue;
    batch[count++] = ops_[i];
  }
  exchange(batch, count, done);
  size_t succeeded = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    succeeded += done[i];
    // Neither a plaintext that is not authentic nor one that was to be sealed goes anywhere.
    if (done[i] == 0) [[unlikely]]
      wipe(jobs[i].data, jobs[i].length_bytes);
  }
  return succeeded;
}

bool CryptoQueue::try_seal(std::span<const crypto::AeadJob> jobs,
                           std::span<uint8_t> sealed) noexcept {
  return run(sealing_, jobs, sealed) == jobs.size();
}

void CryptoQueue::open(std::span<const crypto::AeadJob> jobs,
                       std::span<uint8_t> authentic) noexcept {
  run(opening_, jobs, authentic);
}

}  // namespace turnpike::io

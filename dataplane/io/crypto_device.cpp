// The maker of pools of sessions is in DPDK 22.11 as "experimental", and nothing else makes them.
#define ALLOW_EXPERIMENTAL_API
#include "dataplane/io/crypto_device.h"

#include <rte_cryptodev.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_mempool.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>

#include "dataplane/base/keys.h"
#include "dataplane/crypto/aead_speed.h"
#include "dataplane/io/crypto_queue.h"
#include "dataplane/io/log.h"
#include "dataplane/io/port.h"

namespace turnpike::io {
namespace {

std::string device_error(const CryptoDeviceOptions& options, const std::string& what) {
  return "dataplane.crypto_device (" + options.device + "): " + what;
}

// With DPDK's own reason, where it gave one.
std::string device_error(const CryptoDeviceOptions& options, const std::string& what, int error) {
  const std::string details = take_last_errors();
  return device_error(options, what + ": " + (details.empty() ? rte_strerror(-error) : details));
}

rte_cryptodev_info info_of(int id) {
  rte_cryptodev_info info{};
  rte_cryptodev_info_get(static_cast<uint8_t>(id), &info);
  return info;
}

// "AES-CCM, AES-GCM"; which AEADs a device has.
std::string aeads_of(int id) {
  std::string list;
  const rte_cryptodev_info info = info_of(id);
  const rte_cryptodev_capabilities* capability = info.capabilities;
  for (; capability != nullptr && capability->op != RTE_CRYPTO_OP_TYPE_UNDEFINED; ++capability) {
    if (capability->op != RTE_CRYPTO_OP_TYPE_SYMMETRIC ||
        capability->sym.xform_type != RTE_CRYPTO_SYM_XFORM_AEAD) {
      continue;
    }
    list += (list.empty() ? "" : ", ");
    list += rte_crypto_aead_algorithm_strings[capability->sym.aead.algo];
  }
  return list.empty() ? "no AEAD" : list;
}

// Those that DPDK has found, with what they can do.
std::string devices_there() {
  std::string list;
  for (int id = 0; id < RTE_CRYPTO_MAX_DEVS; ++id) {
    if (rte_cryptodev_is_valid_dev(static_cast<uint8_t>(id)) == 0) continue;
    list += (list.empty() ? "" : "; ");
    list += std::string(rte_cryptodev_name_get(static_cast<uint8_t>(id))) + " with " + aeads_of(id);
  }
  return "; crypto devices that are there: " + (list.empty() ? "none" : list);
}

// A card's device is called after its address, with something behind it; a card may have several, for other kinds
// of work.
int find_id(const std::string& name) {
  for (int id = 0; id < RTE_CRYPTO_MAX_DEVS; ++id) {
    if (rte_cryptodev_is_valid_dev(static_cast<uint8_t>(id)) == 0) continue;
    const rte_cryptodev_info info = info_of(id);
    if ((info.feature_flags & RTE_CRYPTODEV_FF_SYMMETRIC_CRYPTO) == 0) continue;
    if (name == rte_cryptodev_name_get(static_cast<uint8_t>(id))) return id;
    if (info.device != nullptr && name == rte_dev_name(info.device)) return id;
  }
  return -1;
}

rte_crypto_sym_xform xform_of(const uint8_t* key, crypto::AeadDirection direction,
                              uint16_t tag_bytes) {
  rte_crypto_sym_xform xform{};
  xform.type = RTE_CRYPTO_SYM_XFORM_AEAD;
  xform.aead.op = direction == crypto::AeadDirection::Seal ? RTE_CRYPTO_AEAD_OP_ENCRYPT
                                                           : RTE_CRYPTO_AEAD_OP_DECRYPT;
  xform.aead.algo = RTE_CRYPTO_AEAD_CHACHA20_POLY1305;
  xform.aead.key.data = key;
  xform.aead.key.length = kKeyBytes;
  xform.aead.iv.offset = CryptoQueue::nonce_offset();
  xform.aead.iv.length = CryptoQueue::kNonceBytes;
  xform.aead.digest_length = tag_bytes;
  xform.aead.aad_length = 0;
  return xform;
}

// Keys lie in it: not for core dumps and not for swap, as far as the kernel lets us.
void keep_secret(rte_mempool*, void*, rte_mempool_memhdr* memory, unsigned) {
  constexpr uintptr_t kPage = 4'096;
  const auto begin = reinterpret_cast<uintptr_t>(memory->addr) / kPage * kPage;
  const auto end =
      (reinterpret_cast<uintptr_t>(memory->addr) + memory->len + kPage - 1) / kPage * kPage;
  auto* pages = reinterpret_cast<void*>(begin);
  (void)madvise(pages, end - begin, MADV_DONTDUMP);
  (void)mlock(pages, end - begin);
}

}  // namespace

Result<std::unique_ptr<CryptoDevice>, std::string> CryptoDevice::open(
    const CryptoDeviceOptions& options) {
  (void)take_last_errors();
  std::unique_ptr<CryptoDevice> device(new CryptoDevice(options));
  std::string error = device->find_device(options);
  if (error.empty()) error = device->check(options);
  if (error.empty()) error = device->configure(options);
  if (!error.empty()) return fail(std::move(error));
  return device;
}

std::string CryptoDevice::find_device(const CryptoDeviceOptions& options) {
  const std::string name = options.device.substr(0, options.device.find(','));
  id_ = find_id(name);
  if (id_ == kNone && !is_pci_address(options.device)) {
    if (const int error = rte_dev_probe(options.device.c_str()); error != 0) {
      return device_error(options,
                          "cannot be opened (a PCI address, or a DPDK vdev such as "
                          "crypto_aesni_mb0, is right)",
                          error) +
             devices_there();
    }
    id_ = find_id(name);
    probed_ = id_ != kNone;
  }
  if (id_ == kNone)
    return device_error(options, "DPDK found no such crypto device") + devices_there();
  driver_ = info_of(id_).driver_name;
  return {};
}

std::string CryptoDevice::check(const CryptoDeviceOptions& options) const {
  const auto id = static_cast<uint8_t>(id_);
  rte_cryptodev_sym_capability_idx wanted{};
  wanted.type = RTE_CRYPTO_SYM_XFORM_AEAD;
  wanted.algo.aead = RTE_CRYPTO_AEAD_CHACHA20_POLY1305;
  const rte_cryptodev_symmetric_capability* capability =
      rte_cryptodev_sym_capability_get(id, &wanted);
  if (capability == nullptr ||
      rte_cryptodev_sym_capability_check_aead(capability, kKeyBytes, crypto::kAuthTagBytes, 0,
                                              CryptoQueue::kNonceBytes) != 0) {
    return device_error(options, "has no ChaCha20-Poly1305 as WireGuard uses it") + devices_there();
  }
  const rte_cryptodev_info info = info_of(id_);
  if (info.max_nb_queue_pairs < options.queue_pairs) {
    return device_error(options, "has " + std::to_string(info.max_nb_queue_pairs) +
                                     " queue pairs, but there are " +
                                     std::to_string(options.queue_pairs) +
                                     " workers, each of which needs one; use fewer "
                                     "dataplane.workers, or give it more (max_nb_queue_pairs=N of "
                                     "devices in software)");
  }
  if (info.sym.max_nb_sessions != 0 && info.sym.max_nb_sessions < options.sessions) {
    return device_error(options, "has room for " + std::to_string(info.sym.max_nb_sessions) +
                                     " sessions; dataplane.crypto_sessions (now " +
                                     std::to_string(options.sessions) + ") must not be above that");
  }
  return {};
}

std::string CryptoDevice::configure(const CryptoDeviceOptions& options) {
  const auto id = static_cast<uint8_t>(id_);
  const int numa_node = rte_cryptodev_socket_id(id);
  // One, for all that is made and freed on the session thread: without a cache for each lcore, which would keep
  // sessions back.
  session_pool_ = rte_cryptodev_sym_session_pool_create(
      ("crypto-sessions-" + std::to_string(id_)).c_str(), options.sessions,
      rte_cryptodev_sym_get_private_session_size(id), 0, 0, numa_node);
  if (session_pool_ == nullptr) {
    return device_error(options,
                        "memory for " + std::to_string(options.sessions) +
                            " sessions is short; raise dataplane.memory, or lower "
                            "dataplane.crypto_sessions",
                        -rte_errno);
  }
  rte_mempool_mem_iter(session_pool_, keep_secret, nullptr);
  free_sessions_.resize(options.sessions);
  CHECK(rte_mempool_get_bulk(session_pool_, free_sessions_.data(), options.sessions) == 0);
  rte_cryptodev_config config{};
  config.socket_id = numa_node;
  config.nb_queue_pairs = options.queue_pairs;
  config.ff_disable = RTE_CRYPTODEV_FF_ASYMMETRIC_CRYPTO | RTE_CRYPTODEV_FF_SECURITY;
  int error = rte_cryptodev_configure(id, &config);
  if (error != 0) return device_error(options, "cannot be configured", error);
  rte_cryptodev_qp_conf queue{};
  queue.nb_descriptors = options.descriptors;
  queue.mp_session = session_pool_;
  for (uint16_t i = 0; i < options.queue_pairs; ++i) {
    error = rte_cryptodev_queue_pair_setup(id, i, &queue, numa_node);
    if (error != 0) {
      return device_error(options, "queue pair " + std::to_string(i) + " cannot be set up", error);
    }
  }
  error = rte_cryptodev_start(id);
  if (error != 0) return device_error(options, "cannot be started", error);
  started_ = true;
  return {};
}

CryptoDevice::~CryptoDevice() {
  for (const crypto::AeadDirection direction :
       {crypto::AeadDirection::Seal, crypto::AeadDirection::Open}) {
    table(direction).for_each([&](const uint8_t* key) { forget(key, direction); });
  }
  if (started_) rte_cryptodev_stop(static_cast<uint8_t>(id_));
  if (id_ != kNone) {
    rte_device* const device = info_of(id_).device;
    rte_cryptodev_close(static_cast<uint8_t>(id_));
    if (probed_) rte_dev_remove(device);
  }
  rte_mempool_free(session_pool_);
}

std::unique_ptr<crypto::Aead> CryptoDevice::aead(uint16_t queue_pair) {
  return CryptoQueue::make(static_cast<uint8_t>(id_), queue_pair, sealing_, opening_,
                           look_up_addresses_);
}

double CryptoDevice::measure(Instant (*clock)()) {
  // What a card can reach is DPDK's memory only, and no buffer may lie on two pages, which need not be neighbours to it.
  constexpr auto kWithinAPage = static_cast<unsigned>(std::bit_ceil(crypto::kMeasuringRoomBytes));
  void* const room = rte_malloc("crypto-measurement", crypto::kMeasuringRoomBytes, kWithinAPage);
  const auto queue = aead(0);
  double bits_per_second = 0;
  if (room != nullptr && queue != nullptr) {
    bits_per_second = crypto::measure_aead(
        *queue, this, {static_cast<uint8_t*>(room), crypto::kMeasuringRoomBytes}, clock);
  }
  rte_free(room);
  return bits_per_second;
}

bool CryptoDevice::admit(const uint8_t* key, crypto::AeadDirection direction) noexcept {
  if (sessions_in_use() == sessions_max_) return false;
  rte_crypto_sym_xform xform = xform_of(key, direction, tag_bytes_);
  rte_mempool_put(session_pool_, free_sessions_.back());
  free_sessions_.pop_back();
  void* const session =
      rte_cryptodev_sym_session_create(static_cast<uint8_t>(id_), &xform, session_pool_);
  if (session == nullptr) {
    take_back_wiped();  // the driver may have copied the key before it said no
    return false;
  }
  if (table(direction).add(key, session)) return true;
  drop_session(session);
  return false;
}

void CryptoDevice::forget(const uint8_t* key, crypto::AeadDirection direction) noexcept {
  if (void* const session = table(direction).remove(key)) drop_session(session);
}

void CryptoDevice::drop_session(void* session) noexcept {
  CHECK(rte_cryptodev_sym_session_free(static_cast<uint8_t>(id_), session) == 0);
  // DPDK does not say that a driver has to wipe its part, and we may not before it is freed.
  take_back_wiped();
}

// The only one that is in the pool.
void CryptoDevice::take_back_wiped() noexcept {
  void* session = nullptr;
  CHECK(rte_mempool_get(session_pool_, &session) == 0);
  wipe(session, session_pool_->elt_size);
  free_sessions_.push_back(session);
}

bool CryptoDevice::session_memory_has(std::span<const uint8_t> bytes) const {
  struct Search {
    std::string_view wanted;
    bool found = false;
  } search{.wanted = {reinterpret_cast<const char*>(bytes.data()), bytes.size()}};
  rte_mempool_mem_iter(
      session_pool_,
      [](rte_mempool*, void* argument, rte_mempool_memhdr* memory, unsigned) {
        auto& s = *static_cast<Search*>(argument);
        const std::string_view all(static_cast<const char*>(memory->addr), memory->len);
        s.found |= all.find(s.wanted) != std::string_view::npos;
      },
      &search);
  return search.found;
}

}  // namespace turnpike::io

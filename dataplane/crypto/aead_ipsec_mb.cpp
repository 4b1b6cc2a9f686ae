// The AEAD by Intel's ipsec-mb, one manager for each object. Jobs are submitted without its
// parameter checks: every field that they look at is constant or set here.
#include <intel-ipsec-mb.h>
#include <x86intrin.h>

#include <algorithm>

#include "dataplane/base/bytes.h"
#include "dataplane/base/check.h"
#include "dataplane/base/keys.h"
#include "dataplane/base/prefetch.h"
#include "dataplane/crypto/aead_backends.h"
#include "dataplane/crypto/fetch_ahead.h"

namespace turnpike::crypto {
namespace {

constexpr size_t kNonceBytes = 12;
// Jobs are submitted in groups of so much text where what follows is fetched meanwhile: one packet of 1,420 bytes is as
// many lines as a core asks for at a time (24 on Zen 4), so two are not asked for at once.
constexpr uint32_t kGroupBytes = 1'024;

// The texts of a burst, asked for from job `first` on.
class Texts {
 public:
  Texts(std::span<const AeadJob> jobs, size_t first) noexcept : jobs_(jobs), next_(first) {}

  // What was not yet asked for of the jobs before `end`, and the head of the next one: all of it comes at once, but it is
  // wanted from its beginning on.
  void fetch_before(size_t end) noexcept {
    for (; next_ < end; ++next_) {
      fetch(jobs_[next_], has_head_ ? kHeadBytes : 0, SIZE_MAX);
      has_head_ = false;
    }
    if (next_ == jobs_.size() || has_head_) return;
    fetch(jobs_[next_], 0, kHeadBytes);
    has_head_ = true;
  }

 private:
  static constexpr size_t kHeadBytes = 704;  // half a packet of 1,420 bytes
  static_assert(kHeadBytes % kCacheLine == 0);

  // The lines of text and tag from `from` to `to`, counted from where the first one begins.
  static void fetch(const AeadJob& job, size_t from, size_t to) noexcept {
    const size_t before = reinterpret_cast<uintptr_t>(job.data) % kCacheLine;
    const size_t end = std::min(to, before + job.length_bytes + kAuthTagBytes);
    for (size_t at = from; at < end; at += kCacheLine) prefetch_for_write(job.data - before + at);
  }

  std::span<const AeadJob> jobs_;
  size_t next_;
  bool has_head_ = false;  // of jobs_[next_]
};

class IpsecMbAead final : public Aead {
 public:
  explicit IpsecMbAead(IMB_MGR* manager) noexcept : manager_(manager) {}
  IpsecMbAead(const IpsecMbAead&) = delete;
  IpsecMbAead& operator=(const IpsecMbAead&) = delete;
  ~IpsecMbAead() override { free_mb_mgr(manager_); }

  [[nodiscard]] std::string_view name() const noexcept override {
    return to_string(AeadBackend::IpsecMb);
  }

  bool try_seal(std::span<const AeadJob> jobs, std::span<uint8_t>) noexcept override {
    run(jobs, IMB_DIR_ENCRYPT, [&](size_t i) { return jobs[i].data + jobs[i].length_bytes; });
    return true;
  }

  void open(std::span<const AeadJob> jobs, std::span<uint8_t> authentic) noexcept override {
    uint8_t computed[kBurstMax][kAuthTagBytes];
    CHECK(authentic.size() >= jobs.size());
    run(jobs, IMB_DIR_DECRYPT, [&](size_t i) { return computed[i]; });
    for (size_t i = 0; i < jobs.size(); ++i) {
      const uint8_t* received = jobs[i].data + jobs[i].length_bytes;
      authentic[i] = tags_equal(computed[i], received);
      // ipsec-mb deciphers without regard to the tag.
      if (authentic[i] == 0) [[unlikely]]
        wipe(jobs[i].data, jobs[i].length_bytes);
    }
    // The right tag of a forged packet would be the forger's next try.
    wipe(computed, jobs.size() * kAuthTagBytes);
  }

 private:
  [[nodiscard]] static bool tags_equal(const uint8_t* a, const uint8_t* b) noexcept {
    const uint64_t low = load_le64(a) ^ load_le64(b);
    const uint64_t high = load_le64(a + 8) ^ load_le64(b + 8);
    return (low | high) == 0;
  }

  // `tag_of(i)` says where the tag of job i is written.
  template <typename TagOf>
  void run(std::span<const AeadJob> jobs, IMB_CIPHER_DIRECTION direction, TagOf tag_of) noexcept {
    CHECK(jobs.size() <= kBurstMax);
    if (jobs.empty()) return;
    alignas(16) uint8_t nonces[kBurstMax][16];
    IMB_JOB* batch[kBurstMax];
    const auto count = static_cast<uint32_t>(jobs.size());
    // The queue (IMB_MAX_JOBS) is empty between two calls and larger than a burst.
    CHECK(IMB_GET_NEXT_BURST(manager_, count, batch) == count);
    for (uint32_t i = 0; i < count; ++i) {
      const AeadJob& from = jobs[i];
      store_le32(nonces[i], 0);
      store_le64(nonces[i] + 4, from.counter);
      IMB_JOB& job = *batch[i];
      job.cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
      job.hash_alg = IMB_AUTH_CHACHA20_POLY1305;
      job.cipher_direction = direction;
      job.chain_order =
          direction == IMB_DIR_ENCRYPT ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
      job.enc_keys = from.key;
      job.dec_keys = from.key;
      job.key_len_in_bytes = kKeyBytes;
      job.src = from.data;
      job.dst = from.data;
      job.cipher_start_src_offset_in_bytes = 0;
      job.msg_len_to_cipher_in_bytes = from.length_bytes;
      job.hash_start_src_offset_in_bytes = 0;
      job.msg_len_to_hash_in_bytes = from.length_bytes;
      job.iv = nonces[i];
      job.iv_len_in_bytes = kNonceBytes;
      job.auth_tag_output = tag_of(i);
      job.auth_tag_output_len_in_bytes = kAuthTagBytes;
      job.u.CHACHA20_POLY1305.aad = nullptr;
      job.u.CHACHA20_POLY1305.aad_len_in_bytes = 0;
    }
    // ipsec-mb 1.3 finishes ChaCha20-Poly1305 jobs as they are submitted. Should another release
    // queue some, they are flushed: nothing of ours may be pointed to after we return.
    uint32_t done = submit(jobs, batch, fetch_ahead_[direction == IMB_DIR_ENCRYPT ? 0 : 1]);
    while (done < count) {
      const uint32_t flushed = IMB_FLUSH_BURST(manager_, count - done, batch);
      CHECK(flushed > 0);
      done += flushed;
    }
  }

  [[nodiscard]] static uint32_t end_of_group(std::span<const AeadJob> jobs,
                                             uint32_t first) noexcept {
    uint32_t bytes = 0;
    while (first < jobs.size() && bytes < kGroupBytes) bytes += jobs[first++].length_bytes;
    return first;
  }

  [[nodiscard]] uint32_t submit(std::span<const AeadJob> jobs, IMB_JOB** batch,
                                FetchAhead& fetch_ahead) noexcept {
    const auto count = static_cast<uint32_t>(jobs.size());
    size_t bytes = 0;
    for (const AeadJob& job : jobs) bytes += job.length_bytes;
    if (bytes < FetchAhead::kMinBytes) return IMB_SUBMIT_BURST_NOCHECK(manager_, count, batch);
    const uint64_t began = __rdtsc();
    const uint32_t done = fetch_ahead.wanted(bytes)
                              ? submit_by_groups(jobs, batch)
                              : IMB_SUBMIT_BURST_NOCHECK(manager_, count, batch);
    fetch_ahead.note(bytes, __rdtsc() - began);
    return done;
  }

  // The same, with texts fetched while those before them are at work.
  [[nodiscard]] uint32_t submit_by_groups(std::span<const AeadJob> jobs, IMB_JOB** batch) noexcept {
    uint32_t done = 0;
    uint32_t first = 0;
    uint32_t end = end_of_group(jobs, 0);
    // The first group is at work at once: to ask for it beforehand would only be in the way of what follows.
    Texts texts(jobs, end);
    while (first < jobs.size()) {
      const uint32_t next_end = end_of_group(jobs, end);
      texts.fetch_before(next_end);
      done += IMB_SUBMIT_BURST_NOCHECK(manager_, end - first, batch + first);
      first = end;
      end = next_end;
    }
    return done;
  }

  IMB_MGR* manager_;
  FetchAhead fetch_ahead_[2];  // sealing, opening
};

}  // namespace

std::unique_ptr<Aead> make_ipsec_mb_aead() {
  IMB_MGR* manager = alloc_mb_mgr(0);
  if (manager == nullptr) return nullptr;
  IMB_ARCH arch = IMB_ARCH_NONE;
  init_mb_mgr_auto(manager, &arch);
  const bool failed_itself = (manager->features & IMB_FEATURE_SELF_TEST) != 0 &&
                             (manager->features & IMB_FEATURE_SELF_TEST_PASS) == 0;
  if (arch == IMB_ARCH_NONE || imb_get_errno(manager) != 0 || failed_itself) {
    free_mb_mgr(manager);
    return nullptr;
  }
  return std::make_unique<IpsecMbAead>(manager);
}

}  // namespace turnpike::crypto

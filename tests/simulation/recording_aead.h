// The real cipher with a recorder before it: every (key, nonce) that seals is written down, and every
// message that opens. In the middle of its calls other threads' work can be let run, which in the daemon
// happens at any time: the worker has loaded its keypairs and reserved its nonces by then, but not finished its
// burst.
#pragma once

#include <functional>
#include <memory>

#include "dataplane/crypto/aead.h"
#include "tests/simulation/ledger.h"

namespace turnpike::sim {

// What one worker's cipher saw.
struct AeadCounts {
  uint64_t opened = 0;  // jobs
  uint64_t authentic = 0;
  uint64_t authentic_again = 0;  // copies of messages that were opened before
  uint64_t authentic_empty = 0;  // keepalives, the first copy of each
  uint64_t sealed_full = 0;  // what was no keepalive
};

class RecordingAead final : public crypto::Aead {
 public:
  RecordingAead(Ledger& ledger, std::function<void()> meanwhile)
      : ledger_(ledger),
        meanwhile_(std::move(meanwhile)),
        inner_(crypto::make_aead(crypto::AeadBackend::Auto)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return inner_->name(); }

  bool try_seal(std::span<const crypto::AeadJob> jobs,
                std::span<uint8_t> sealed) noexcept override {
    if (!jobs.empty()) meanwhile_();
    for (const crypto::AeadJob& job : jobs) {
      ledger_.note_sealed(job);
      counts.sealed_full += job.length_bytes != 0 ? 1 : 0;
    }
    const bool all = inner_->try_seal(jobs, sealed);
    if (!jobs.empty()) meanwhile_();
    return all;
  }

  void open(std::span<const crypto::AeadJob> jobs, std::span<uint8_t> authentic) noexcept override {
    if (!jobs.empty()) meanwhile_();
    inner_->open(jobs, authentic);
    for (size_t i = 0; i < jobs.size(); ++i) {
      ++counts.opened;
      if (authentic[i] == 0) continue;
      ++counts.authentic;
      if (ledger_.note_opened(jobs[i])) {
        ++counts.authentic_again;
      } else if (jobs[i].length_bytes == 0) {
        ++counts.authentic_empty;
      }
    }
    if (!jobs.empty()) meanwhile_();
  }

  AeadCounts counts;

 private:
  Ledger& ledger_;
  std::function<void()> meanwhile_;
  std::unique_ptr<crypto::Aead> inner_;
};

}  // namespace turnpike::sim

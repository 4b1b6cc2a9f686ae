// The data plane of this process: EAL, ports, buffers, workers, and what they share. Made in the order of
// start-up, taken down in reverse.
//   Threads: main.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "config/config.h"
#include "control/daemon/numa.h"
#include "dataplane/base/random.h"
#include "dataplane/base/ready_blocks.h"
#include "dataplane/base/ready_pages.h"
#include "dataplane/crypto/aead_speed.h"
#include "dataplane/crypto/secret_pages.h"
#include "dataplane/io/crypto_device.h"
#include "dataplane/io/eal.h"
#include "dataplane/io/port.h"
#include "dataplane/io/worker.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/publish/door.h"
#include "dataplane/publish/neighbours.h"
#include "dataplane/publish/peer_slots.h"
#include "dataplane/wireguard/keypair_arena.h"

namespace turnpike::daemon {

// The session threads' clock.
[[nodiscard]] Instant monotonic_now();

class Host {
 public:
  // The error is one line: what is missing and what to do.
  [[nodiscard]] static Result<std::unique_ptr<Host>, std::string> start(
      const config::Config& config);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // Once every door has a snapshot.
  void start_workers();
  void stop_workers();

  // Logs it, and what keeps idle workers that may sleep from waiting for RX interrupts.
  void tell_how_workers_sleep() const;

  [[nodiscard]] std::vector<MacAddress> macs() const;
  // Main thread; workers see serving() and what a serving port has.
  [[nodiscard]] std::span<io::Port> ports_to_watch() noexcept { return ports_; }
  [[nodiscard]] const std::vector<io::Port>& ports() const noexcept { return ports_; }
  [[nodiscard]] io::BufferUse buffers() const noexcept { return io::use_of(*buffers_); }
  // As measured at start: the one in use first.
  [[nodiscard]] const std::vector<crypto::AeadSpeed>& aead_speeds() const noexcept {
    return aead_speeds_;
  }
  // The device that is in use; nullptr: none.
  [[nodiscard]] io::CryptoDevice* crypto_device() const noexcept { return crypto_device_.get(); }

  // False once reserved hugepages were wanted for the tries and had run out, on any node.
  [[nodiscard]] bool tables_are_huge() const noexcept;
  // Of the tries, where workers look things up for each packet.
  [[nodiscard]] ReplicaPages table_pages() const;
  // What they take, by ReplicaIndex.
  [[nodiscard]] size_t table_bytes(size_t replica) const noexcept {
    return table_pages_[replica]->used_bytes();
  }
  [[nodiscard]] const Placement& placement() const noexcept { return placement_; }

  SystemPages pages;
  // Keypairs come a chunk at a time, and their bitmaps: for the session thread.
  ReadyBlocks keypair_pages{pages, {wireguard::KeypairChunk::kBytes, kHugePageBytes}};
  crypto::SecretPages secret_pages{keypair_pages};
  publish::Epoch epoch;
  publish::PeerSlots peers;
  wireguard::KeypairArena keypairs;
  publish::NeighbourTable neighbours;
  std::vector<std::unique_ptr<publish::Door>> doors;  // by WorkerIndex

 private:
  Host(RandomSource& random, Placement placement)
      : peers(pages, kMaxPeers, random.next_u64()),
        keypairs(secret_pages, keypair_pages, wireguard::KeypairArena::kMaxKeypairs, random),
        neighbours(epoch, random.next_u64()),
        placement_(std::move(placement)) {}
  [[nodiscard]] Result<void, std::string> open_ports(const config::Config& config);
  [[nodiscard]] Result<void, std::string> choose_aead(const config::Config& config);
  [[nodiscard]] std::unique_ptr<crypto::Aead> make_aead(WorkerIndex worker);
  [[nodiscard]] Result<void, std::string> make_workers(const config::Config& config);

  const Placement placement_;
  std::vector<std::unique_ptr<ReadyPages>> table_pages_;  // by ReplicaIndex
  io::EalOptions eal_;
  bool eal_started_ = false;
  rte_mempool* buffers_ = nullptr;  // freed with the EAL's memory
  std::vector<io::Port> ports_;
  std::unique_ptr<io::Spreader> spreader_;  // nullptr where no port needs it
  std::vector<crypto::AeadSpeed> aead_speeds_;
  std::unique_ptr<io::CryptoDevice> crypto_device_;  // nullptr where another AEAD is in use
  std::vector<std::unique_ptr<crypto::Aead>> aeads_;
  std::unique_ptr<pipeline::Shared> shared_;
  std::unique_ptr<io::Workers> workers_;
};

}  // namespace turnpike::daemon

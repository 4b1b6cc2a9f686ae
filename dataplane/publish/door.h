// The one door between the control side and a worker: its snapshot, its place in the epoch, its rings and
// its counters. The daemon makes one for each worker and keeps it until the worker has ended.
#pragma once

#include <atomic>

#include "dataplane/base/limits.h"
#include "dataplane/base/replica_pages.h"
#include "dataplane/publish/counters.h"
#include "dataplane/publish/doorbell.h"
#include "dataplane/publish/epoch.h"
#include "dataplane/publish/rings.h"
#include "dataplane/publish/snapshot.h"

namespace turnpike::publish {

class Door {
 public:
  // `slot_bytes`: room for the longest frame of any port. `replica`: the copy of the tables that its worker reads.
  Door(Epoch& epoch, PageSource& pages, uint32_t slot_bytes, ReplicaIndex replica = 0) noexcept
      : punt(pages, kPuntSlots, slot_bytes),
        inject(pages, kInjectSlots, slot_bytes),
        reader_(epoch.add_reader()),
        replica_(replica) {}

  // Control: makes the snapshot, one that leads to replica(), the one that the next burst sees. The caller then
  // retires the old one.
  void publish(const Snapshot* snapshot) noexcept {
    published_.store(snapshot,
                     std::memory_order_release);  // pairs with the acquire in begin_burst()
  }

  // Owner worker: good until its next begin_burst() or sleep().
  [[nodiscard]] const Snapshot& begin_burst() noexcept {
    reader_.begin();
    return *published_.load(std::memory_order_acquire);
  }
  void sleep() noexcept { reader_.offline(); }
  void wake() noexcept { reader_.online(); }

  [[nodiscard]] const EpochReader& reader() const noexcept { return reader_; }
  [[nodiscard]] ReplicaIndex replica() const noexcept { return replica_; }

  PuntRing punt;  // worker: produces · session thread: consumes
  InjectRing inject;  // session thread: produces · worker: consumes
  Counters counters;  // worker: writes · control: reads
  Doorbell bell;  // worker: listens · session thread, other workers, control: ring

 private:
  alignas(kCacheLine) std::atomic<const Snapshot*> published_{
      nullptr};  // control: writes · worker: reads
  EpochReader& reader_;
  const ReplicaIndex replica_;
};

}  // namespace turnpike::publish

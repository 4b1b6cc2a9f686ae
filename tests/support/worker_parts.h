// What workers share in tests: a gateway with no peers, and a snapshot for the test to fill.
#pragma once

#include "dataplane/base/pages.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/publish/epoch.h"
#include "dataplane/publish/snapshot.h"
#include "tests/support/sim_random.h"

namespace turnpike::test {

struct WorkerParts {
  SystemPages pages;
  publish::Epoch epoch;
  publish::PeerSlots peers{pages, 4096, 1};
  sim::Random key_of_indexes{1};
  wireguard::KeypairArena keypairs{pages, 4096, key_of_indexes};
  publish::NeighbourTable neighbours{epoch, 42};
  publish::Snapshot snapshot;
  pipeline::Shared shared{
      .peers = peers, .keypairs = keypairs, .neighbours = neighbours, .offloads = {}};
};

}  // namespace turnpike::test

// What workers share in the tests of io: a gateway with no peers, and a snapshot for the test to fill.
#pragma once

#include "dataplane/base/pages.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/publish/epoch.h"
#include "dataplane/publish/snapshot.h"
#include "tests/support/sim_random.h"

namespace turnpike::io::test {

struct WorkerParts {
  SystemPages pages;
  publish::Epoch epoch;
  publish::PeerSlots peers{pages, 16, 1};
  sim::Random random{1};
  wireguard::KeypairArena keypairs{pages, 64, random};
  publish::NeighbourTable neighbours{epoch, 1};
  publish::Snapshot snapshot;
  pipeline::Shared shared{
      .peers = peers, .keypairs = keypairs, .neighbours = neighbours, .offloads = {}};
};

}  // namespace turnpike::io::test

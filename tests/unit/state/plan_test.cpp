#include "control/state/plan.h"

#include "tests/unit/state/state_fixture.h"

namespace turnpike::state {
namespace {

class Plan : public StateTest {
 protected:
  Plan() {
    commit({add("a", 1, {"10.0.0.1/32", "10.1.0.0/16"}), add("b", 2, {"10.0.0.2/32"}),
            add("c", 3, {"fd00::/64"})});
  }
};

TEST_F(Plan, ClaimsWhatIsFreeAndCallsWhatIsOwnedAlreadyNothing) {
  const Change change = commit({claim("a", {"10.0.0.1/32", "10.0.0.9/32"})});
  ASSERT_EQ(change.prefixes.size(), 1u);
  EXPECT_EQ(to_string(change.prefixes[0].prefix), "10.0.0.9/32");
  EXPECT_EQ(owner("10.0.0.9/32"), "a");
}

TEST_F(Plan, GivesNoGenerationToWhatIsSoAlready) {
  const Change change =
      commit({claim("a", {"10.0.0.1/32"}), replace("b", {"10.0.0.2/32"}), enable("c", true)});
  EXPECT_TRUE(change.empty());
}

TEST_F(Plan, NamesEveryConflictOfAClaimWithItsOwner) {
  EXPECT_EQ(refuse({claim("c", {"10.9.0.0/16", "10.0.0.1/32"}), claim("c", {"10.0.0.2/32"})}),
            "0 owned_by_another 10.0.0.1/32 a c\n"
            "1 owned_by_another 10.0.0.2/32 b c\n");
}

TEST_F(Plan, NamesEveryMismatchOfReleasesAndMoves) {
  EXPECT_EQ(refuse({release("a", {"10.0.0.2/32", "10.7.0.0/16"}), move("b", "c", {"fd00::/64"})}),
            "0 not_owned 10.0.0.2/32 b a\n"
            "0 not_owned 10.7.0.0/16 - a\n"
            "1 not_owned fd00::/64 c b\n");
}

TEST_F(Plan, LetsNestedPrefixesOfDifferentPeersBe) {
  commit({claim("b", {"10.0.0.0/8"}), claim("c", {"10.1.2.0/24"})});
  EXPECT_EQ(owner("10.1.0.0/16"), "a");
  const Claim* found = state_.longest_match(0, *parse_ip("10.1.2.3"));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(label(state_.peer(found->peer)), "c");
  EXPECT_EQ(label(state_.peer(state_.longest_match(0, *parse_ip("10.1.3.3"))->peer)), "a");
  EXPECT_EQ(label(state_.peer(state_.longest_match(0, *parse_ip("10.2.3.3"))->peer)), "b");
  EXPECT_EQ(state_.longest_match(0, *parse_ip("11.0.0.1")), nullptr);
}

TEST_F(Plan, SwapsInWhateverOrderItIsWritten) {
  commit({move("a", "b", {"10.0.0.1/32"}), move("b", "a", {"10.0.0.2/32"})});
  EXPECT_EQ(owner("10.0.0.1/32"), "b");
  EXPECT_EQ(owner("10.0.0.2/32"), "a");
  commit({replace("a", {"10.0.0.1/32"}), replace("b", {"10.0.0.2/32", "10.1.0.0/16"})});
  EXPECT_EQ(owner("10.0.0.1/32"), "a");
  EXPECT_EQ(owner("10.0.0.2/32"), "b");
  EXPECT_EQ(owner("10.1.0.0/16"), "b");
}

TEST_F(Plan, TakesWhatAnotherEditFreesEvenIfThatStandsLater) {
  commit({claim("c", {"10.0.0.1/32"}), remove("a")});
  EXPECT_EQ(owner("10.0.0.1/32"), "c");
  EXPECT_EQ(owner("10.1.0.0/16"), "");
  commit({add("d", 4, {"10.0.0.2/32"}), replace("b", {})});
  EXPECT_EQ(owner("10.0.0.2/32"), "d");
}

TEST_F(Plan, MovesRoundARing) {
  commit({move("a", "b", {"10.0.0.1/32"}), move("b", "c", {"10.0.0.2/32"}),
          move("c", "a", {"fd00::/64"})});
  EXPECT_EQ(owner("10.0.0.1/32"), "b");
  EXPECT_EQ(owner("10.0.0.2/32"), "c");
  EXPECT_EQ(owner("fd00::/64"), "a");
}

TEST_F(Plan, RefusesAPrefixInTwoEditsButForTwoReplaceLists) {
  EXPECT_EQ(refuse({claim("a", {"10.5.0.0/16"}), claim("b", {"10.5.0.0/16"})}),
            "1 prefix_in_two_edits 10.5.0.0/16 - b\n"
            "1 taken_twice 10.5.0.0/16 a b\n");
  EXPECT_EQ(refuse({release("a", {"10.0.0.1/32"}), claim("b", {"10.0.0.1/32"})}),
            "1 prefix_in_two_edits 10.0.0.1/32 a b\n");
  EXPECT_EQ(refuse({replace("a", {"10.5.0.0/16"}), replace("b", {"10.5.0.0/16"})}),
            "1 taken_twice 10.5.0.0/16 a b\n");
  // One of the two keeps what it has: the other one wants what is owned, in either order.
  EXPECT_EQ(refuse({replace("a", {"10.0.0.1/32"}), replace("b", {"10.0.0.1/32"})}),
            "1 owned_by_another 10.0.0.1/32 a b\n");
  EXPECT_EQ(refuse({replace("b", {"10.0.0.1/32"}), replace("a", {"10.0.0.1/32"})}),
            "0 owned_by_another 10.0.0.1/32 a b\n");
  EXPECT_EQ(refuse({replace("a", {}), replace("a", {"10.0.0.1/32"})}),
            "1 peer_in_two_edits - - a\n");
}

TEST_F(Plan, RefusesUnknownPeersAndTunnels) {
  Edit elsewhere = claim("a", {"10.5.0.0/16"});
  elsewhere.tunnel = "wg7";
  Edit remove_elsewhere = remove("a");
  remove_elsewhere.tunnel = "wg7";
  EXPECT_EQ(refuse({claim("x", {"10.5.0.0/16"}), move("a", "y", {"10.0.0.1/32"}), remove("z"),
                    enable("z", true), elsewhere, remove_elsewhere}),
            "0 unknown_peer - - x\n"
            "1 unknown_peer - - y\n"
            "2 unknown_peer - - z\n"
            "3 unknown_peer - - z\n"
            "4 unknown_tunnel - - -\n"
            "5 unknown_tunnel - - -\n");
  EXPECT_EQ(refuse({remove("a"), claim("a", {"10.5.0.0/16"})}), "1 unknown_peer - - a\n");
  EXPECT_EQ(refuse({remove("a"), enable("a", false)}), "1 peer_in_two_edits - - a\n");
}

TEST_F(Plan, RefusesDuplicatePeersByNameAndByKey) {
  EXPECT_EQ(refuse({add("a", 7)}), "0 duplicate_peer - a a\n");
  EXPECT_EQ(refuse({add("n", 1)}), "0 duplicate_peer - a n\n");
  EXPECT_EQ(refuse({add("n", 7), add("n", 8)}), "1 duplicate_peer - n n\n");
  EXPECT_EQ(refuse({add("n", 7), add("m", 7)}), "1 duplicate_peer - n m\n");
  EXPECT_EQ(refuse({set("a", {.name = "b"})}), "0 duplicate_peer - b b\n");
  EXPECT_EQ(refuse({add("own", 999'999)}), "0 own_key - - own\n");
}

TEST_F(Plan, LetsNamesAndKeysPassOnWithinOneTransaction) {
  const PeerId old = state_.peer(state_.find_peer(0, "a")).id;
  commit({remove("a"), add("a", 1, {"10.0.0.1/32"})});
  EXPECT_NE(state_.peer(state_.find_peer(0, "a")).id, old);
  EXPECT_EQ(owner("10.0.0.1/32"), "a");
  EXPECT_EQ(owner("10.1.0.0/16"), "");
  commit({set("b", {.name = "c"}), set("c", {.name = "b"})});
  EXPECT_EQ(owner("10.0.0.2/32"), "c");
  EXPECT_EQ(owner("fd00::/64"), "b");
  // A taker may be called by its new name or by its old one while nobody else has that.
  commit({set("b", {.name = "e"}), claim("e", {"10.5.0.0/16"}), claim("b", {"10.6.0.0/16"})});
  EXPECT_EQ(owner("10.6.0.0/16"), "e");
}

TEST_F(Plan, AddsAndRemovesAStrangerWithoutATraceOnOthers) {
  const std::string before = dump(state_);
  commit({add("d", 4, {"10.4.0.0/16"})});
  commit({claim("d", {"10.1.1.0/24"})});
  commit({remove("d")});
  EXPECT_EQ(dump(state_), before);
}

TEST_F(Plan, RefusesAStaleGenerationBeforeEverythingElse) {
  const auto change = plan(state_, {.if_generation = 1, .edits = {remove("nobody")}});
  ASSERT_FALSE(change);
  EXPECT_TRUE(change.error().is_stale());
  EXPECT_EQ(change.error().generation, state_.generation());
  EXPECT_TRUE(plan(state_, {.if_generation = state_.generation(), .edits = {remove("a")}}));
}

TEST_F(Plan, KeepsTheOriginOfAClaimUnlessTheFileListsItNow) {
  Edit from_file = claim("a", {"10.0.0.1/32"});
  from_file.origin = Origin::File;
  const Change change = commit({from_file});
  EXPECT_EQ(change.origins.size(), 1u);
  EXPECT_TRUE(change.prefixes.empty());
  EXPECT_EQ(state_.owner(0, *parse_prefix("10.0.0.1/32"))->origin, Origin::File);
  EXPECT_TRUE(commit({claim("a", {"10.0.0.1/32"})}).empty());
  EXPECT_EQ(state_.owner(0, *parse_prefix("10.0.0.1/32"))->origin, Origin::File);
}

TEST_F(Plan, RefusesMoreTunnelsThanThereMayBe) {
  std::vector<Edit> edits;
  for (size_t i = 0; i < kMaxTunnels; ++i) edits.push_back(add_tunnel("t" + std::to_string(i)));
  EXPECT_EQ(refuse(std::move(edits)), "63 limit - tunnels -\n");
  EXPECT_EQ(refuse({add_tunnel("wg0")}), "0 duplicate_tunnel - - -\n");
}

TEST_F(Plan, RemovesATunnelWithItsPeersAndKeepsOthersApart) {
  Edit other = add("a", 1, {"10.0.0.1/32"});
  other.tunnel = "wg1";
  commit({add_tunnel("wg1"), other});
  EXPECT_EQ(state_.peer_count(), 4u);
  Edit gone = add_tunnel("wg0");
  gone.op = Op::TunnelRemove;
  const Change change = commit({gone});
  EXPECT_EQ(change.peers_removed.size(), 3u);
  EXPECT_EQ(state_.peer_count(), 1u);
  EXPECT_EQ(state_.prefix_count(), 1u);
}

TEST_F(Plan, TakesFromWhoeverOwnsWhereTheTunnelSaysMoveAndTheTransactionFollows) {
  Edit policy = add_tunnel("wg0", ConflictPolicy::Move);
  policy.op = Op::TunnelSet;
  commit({policy});
  EXPECT_EQ(refuse({claim("c", {"10.0.0.1/32"})}), "0 owned_by_another 10.0.0.1/32 a c\n");
  commit({claim("c", {"10.0.0.1/32"}), replace("b", {"10.1.0.0/16", "fd00::/64"})}, true);
  EXPECT_EQ(owner("10.0.0.1/32"), "c");
  EXPECT_EQ(owner("10.1.0.0/16"), "b");
  EXPECT_EQ(owner("fd00::/64"), "b");
  EXPECT_EQ(owner("10.0.0.2/32"), "");
  // Of two takers the later one wins, as it would line by line; also when the earlier one was the owner.
  commit({replace("a", {"10.7.0.0/16"}), replace("b", {"10.7.0.0/16"})}, true);
  EXPECT_EQ(owner("10.7.0.0/16"), "b");
  commit({replace("b", {"10.7.0.0/16"}), replace("a", {"10.7.0.0/16"})}, true);
  EXPECT_EQ(owner("10.7.0.0/16"), "a");
  // What one gives it must still have.
  EXPECT_EQ(refuse({release("a", {"10.0.0.1/32"})}), "0 not_owned 10.0.0.1/32 c a\n");
}

TEST_F(Plan, DisablesAPeerByFreeingItsPrefixesAndRemembersThem) {
  const Change change = commit({enable("a", false), claim("b", {"10.0.0.1/32"})});
  EXPECT_EQ(change.prefixes.size(), 2u);
  EXPECT_EQ(owner("10.0.0.1/32"), "b");
  EXPECT_EQ(owner("10.1.0.0/16"), "");
  EXPECT_EQ(refuse({enable("a", true)}), "0 owned_by_another 10.0.0.1/32 b a\n");
  EXPECT_EQ(refuse({enable("a", true), claim("c", {"10.1.0.0/16"}), release("b", {"10.0.0.1/32"})}),
            "0 taken_twice 10.1.0.0/16 c a\n");
  commit({enable("a", true), release("b", {"10.0.0.1/32"})});
  EXPECT_EQ(owner("10.0.0.1/32"), "a");
  EXPECT_EQ(owner("10.1.0.0/16"), "a");
}

TEST_F(Plan, NotesClaimsOfADisabledPeerWithoutOwningThem) {
  commit({enable("a", false)});
  EXPECT_EQ(refuse({move("a", "b", {"10.0.0.1/32"})}), "0 not_owned 10.0.0.1/32 - a\n");
  commit({claim("a", {"10.0.0.2/32"})});  // b's, and nobody minds
  EXPECT_EQ(owner("10.0.0.2/32"), "b");
  commit({release("a", {"10.0.0.2/32", "10.0.0.1/32"})});
  commit({enable("a", true), claim("a", {"10.5.0.0/16"})});
  EXPECT_EQ(owner("10.0.0.1/32"), "");
  EXPECT_EQ(owner("10.1.0.0/16"), "a");
  EXPECT_EQ(owner("10.5.0.0/16"), "a");
  commit({enable("a", false), replace("a", {"10.1.0.0/16", "10.6.0.0/16"})});
  commit({enable("a", true), release("a", {"10.6.0.0/16"})});
  EXPECT_EQ(owner("10.1.0.0/16"), "a");
  EXPECT_EQ(owner("10.6.0.0/16"), "");
  EXPECT_EQ(state_.claim_count(), state_.prefix_count());
}

TEST_F(Plan, RemovesADisabledPeerWithAllThatItRemembers) {
  commit({enable("a", false)});
  commit({remove("a")});
  EXPECT_EQ(state_.claim_count(), 2u);
  commit({add("a", 1, {"10.0.0.1/32"}), enable("b", false), enable("c", false)});
  EXPECT_EQ(owner("10.0.0.1/32"), "a");
}

TEST_F(Plan, SetsAttributesAndNothingElse) {
  PresharedKey preshared;
  preshared.bytes()[0] = 1;
  const Change change = commit({set("a", {.description = "the office",
                                          .preshared_key = preshared,
                                          .endpoint = parse_endpoint("192.0.2.1:5"),
                                          .persistent_keepalive = 25})});
  ASSERT_EQ(change.peers_changed.size(), 1u);
  EXPECT_TRUE(change.prefixes.empty());
  const Peer& peer = state_.peer(state_.find_peer(0, "a"));
  EXPECT_EQ(peer.description.view(), "the office");
  EXPECT_EQ(peer.preshared_key, preshared);
  EXPECT_EQ(to_string(peer.endpoint), "192.0.2.1:5");
  EXPECT_EQ(peer.persistent_keepalive, 25);
  EXPECT_TRUE(commit({set("a", {.persistent_keepalive = 25})}).empty());
  commit({set("a", {.name = "", .endpoint = Endpoint{}})});
  EXPECT_EQ(state_.find_peer(0, "a"), kNoSlot);
  EXPECT_NE(state_.find_peer(0, key_of(1)), kNoSlot);
}

}  // namespace
}  // namespace turnpike::state

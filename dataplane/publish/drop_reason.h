// Why a packet died: every reason has a name, and the names are part of the interface (`turnpike show
// drops`, metrics). Add at the end of a group; never rename.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace turnpike {

// clang-format off
#define TURNPIKE_DROP_REASONS(X)                                                             \
  /* on a port, before anything else */                                                      \
  X(FrameTooShort, "frame-too-short")            /* headers do not fit the frame */           \
  X(FrameMultiSegment, "frame-multi-segment")    /* a chain of mbufs */                       \
  X(FrameNotForUs, "frame-not-for-us")           /* another destination MAC */                \
  X(EtherTypeUnknown, "ether-type-unknown")      /* neither IP, ARP nor plain Ethernet II */  \
  X(Ipv4HeaderInvalid, "ipv4-header-invalid")    /* version, length or checksum (RFC 1122) */ \
  X(Ipv6HeaderInvalid, "ipv6-header-invalid")                                                \
  X(Fragment, "fragment")                        /* outer fragments are not reassembled */    \
  X(MartianSource, "martian-source")             /* a source that no host can have */         \
  X(MartianDestination, "martian-destination")                                               \
  X(Multicast, "multicast")                      /* no multicast is forwarded */              \
  X(NotForwarded, "not-forwarded")               /* neither for us, a tunnel nor a peer */    \
  X(UdpInvalid, "udp-invalid")                   /* length or checksum */                     \
  X(LocalUnwanted, "local-unwanted")             /* for our address, but nothing listens */   \
  X(VlanTagged, "vlan-tagged")                   /* VLANs are not configured here */          \
  X(SpreadQueueFull, "spread-queue-full")        /* the flow's worker took no more */         \
  /* WireGuard messages from outside */                                                      \
  X(MessageInvalid, "message-invalid")           /* type, reserved bytes or length */         \
  X(ReceiverIndexUnknown, "receiver-index-unknown")                                          \
  X(KeypairExpired, "keypair-expired")           /* older than kRejectAfterTime */            \
  X(AuthenticationFailed, "authentication-failed")                                           \
  X(ReplayedCounter, "replayed-counter")         /* seen, too old, or above the limit */      \
  X(InnerInvalid, "inner-invalid")               /* decrypted, but no IP packet */            \
  X(EcnInvalid, "ecn-invalid")                   /* congestion marked on what is no ECT */    \
  X(InnerSourceNotAllowed, "inner-source-not-allowed")                                       \
  X(InnerMulticast, "inner-multicast")                                                       \
  X(PeerToPeerForbidden, "peer-to-peer-forbidden")                                           \
  X(NoRoute, "no-route")                         /* inside: no route to the destination */    \
  X(TtlExceeded, "ttl-exceeded")                                                             \
  X(PacketTooBig, "packet-too-big")              /* above the MTU of tunnel or port */        \
  /* outbound */                                                                             \
  X(NoAllowedIp, "no-allowed-ip")                /* no peer owns the destination */           \
  X(NoEndpoint, "no-endpoint")                   /* the peer has none */                      \
  X(NonceLimit, "nonce-limit")                   /* above kRejectAfterMessages */             \
  X(NoHeadroom, "no-headroom")                                                               \
  X(SealFailed, "seal-failed")                   /* the crypto device did not seal it */      \
  X(NeighbourUnknown, "neighbour-unknown")       /* no link-layer address; asked for */       \
  X(NeighbourTableFull, "neighbour-table-full")                                              \
  X(TxQueueFull, "tx-queue-full")                /* the port took no more */                  \
  X(NoMbuf, "no-mbuf")                                                                       \
  /* between worker and session thread */                                                    \
  X(PuntRingFull, "punt-ring-full")                                                          \
  X(InjectRingFull, "inject-ring-full")                                                      \
  X(StalePeer, "stale-peer")                     /* the slot has another incarnation now */   \
  X(HeldQueueFull, "held-queue-full")            /* waiting for a handshake: the oldest */    \
  X(HeldTotalFull, "held-total-full")            /* waiting for a handshake: all peers */     \
  X(HeldExpired, "held-expired")                 /* the handshake was given up */             \
  X(HeldPeerGone, "held-peer-gone")              /* the peer was removed while it waited */   \
  X(HeldNeighbour, "held-neighbour")             /* the neighbour never answered */           \
  /* handshake messages */                                                                   \
  X(Mac1Invalid, "mac1-invalid")                                                             \
  X(Mac2Missing, "mac2-missing")                 /* under load: a cookie was sent */          \
  X(SourceRateLimited, "source-rate-limited")                                                \
  X(HandshakeInvalid, "handshake-invalid")       /* does not decrypt, or out of order */      \
  X(HandshakePeerUnknown, "handshake-peer-unknown")                                          \
  X(HandshakeReplayed, "handshake-replayed")     /* timestamp not later than the last */      \
  X(HandshakeFlood, "handshake-flood")           /* of one peer, within kInitiationInterval */ \
  X(HandshakeQueueFull, "handshake-queue-full")                                              \
  X(CookieInvalid, "cookie-invalid")                                                         \
  X(ArpInvalid, "arp-invalid")                                                               \
  X(IcmpRateLimited, "icmp-rate-limited")        /* an answer or an error of ours */
// clang-format on

enum class DropReason : uint8_t {
#define X(name, text) name,
  TURNPIKE_DROP_REASONS(X)
#undef X
};

inline constexpr std::array kDropReasonNames = {
#define X(name, text) std::string_view(text),
    TURNPIKE_DROP_REASONS(X)
#undef X
};
inline constexpr size_t kDropReasons = kDropReasonNames.size();

[[nodiscard]] constexpr std::string_view to_string(DropReason reason) noexcept {
  return kDropReasonNames[static_cast<size_t>(reason)];
}

}  // namespace turnpike

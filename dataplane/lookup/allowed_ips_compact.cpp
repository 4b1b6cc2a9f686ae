// Moving a table together when much memory holds little.
#include <algorithm>
#include <cstring>

#include "dataplane/lookup/allowed_ips_trie.h"

namespace turnpike::lookup {

void Trie::compact(Slot& top) noexcept { top.set_below(moved(top.below())); }

// The subtree at `ref`, copied with all that is below it. Where memory runs out a part stays where it was.
Ref Trie::moved(Ref ref) noexcept {
  if (ref == 0 || !arena_.ensure()) return ref;
  ref = copy(ref);
  const auto move_below = [this](Slot& slot) { slot.set_below(moved(slot.below())); };
  switch (kind_of(ref)) {
    case Kind::Node: {
      if (const Line old = arena_.attached(line_of(ref)); old != 0) {
        const Line line = arena_.allocate(arena_.order_of(old));
        std::memcpy(arena_.at(line), arena_.at(old), sizeof(PeerIndex) << stride_of(ref));
        arena_.attach(line_of(ref), line);
        arena_.drop(old);
      }
      std::for_each_n(slots(ref), size_t{1} << stride_of(ref), move_below);
      break;
    }
    case Kind::Peers:
      break;
    case Kind::Skip:
      move_below(skip(ref).slot);
      break;
    default: {
      uint8_t* line = arena_.at(line_of(ref));
      const EntryList list = read_leaf(kind_of(ref), line);
      for (size_t i = 0; i < list.count; ++i) {
        const Entry& e = list.entries[i];
        if (e.link) set_leaf_value(kind_of(ref), line, i, moved(e.value));
      }
      break;
    }
  }
  return ref;
}

}  // namespace turnpike::lookup

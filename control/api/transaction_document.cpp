#include "control/api/transaction_document.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "config/plain_text.h"
#include "config/value.h"
#include "control/api/document_tree.h"
#include "dataplane/base/text.h"

namespace turnpike::api {
namespace {

using nlohmann::json;
using state::Edit;
using state::Op;
using state::PeerPatch;
using state::Transaction;

constexpr std::array kOps{Op::Claim,   Op::Release, Op::Replace,   Op::Move,
                          Op::PeerAdd, Op::PeerSet, Op::PeerRemove};

class Reader {
 public:
  Transaction read(const json& document) {
    Transaction transaction;
    if (!document.is_object()) {
      mistake("", "the document must be an object with \"edits\"");
      return transaction;
    }
    static constexpr std::string_view kKeys[] = {"if_generation", "comment", "edits"};
    check_keys(document, "", kKeys);
    if (const json* value = find(document, "if_generation"); value && !value->is_null()) {
      if (value->is_number_unsigned()) {
        transaction.if_generation = value->get<uint64_t>();
      } else {
        mistake("/if_generation", "must be a generation, a whole number");
      }
    }
    if (const json* value = find(document, "comment"); value && !value->is_null()) {
      if (!value->is_string()) {
        mistake("/comment", "is no text; put it in quotes");
      } else if (auto comment = read_comment(value->get_ref<const std::string&>())) {
        transaction.comment = std::move(*comment);
      } else {
        mistake("/comment", std::move(comment.error()));
      }
    }
    const json* edits = find(document, "edits");
    if (edits == nullptr || !edits->is_array()) {
      mistake(edits == nullptr ? "" : "/edits", "\"edits\" must be a list of edits");
      return transaction;
    }
    transaction.edits.reserve(edits->size());
    for (size_t i = 0; i < edits->size() && !full(); ++i) {
      transaction.edits.push_back(edit((*edits)[i], "/edits/" + std::to_string(i)));
    }
    return transaction;
  }

  std::vector<Mistake> mistakes_;

 private:
  [[nodiscard]] bool full() const { return mistakes_.size() >= kMaxMistakes; }
  void mistake(std::string place, std::string what) {
    if (!full()) mistakes_.push_back({.place = std::move(place), .what = std::move(what)});
  }
  static const json* find(const json& object, const char* key) {
    const auto at = object.find(key);
    return at == object.end() ? nullptr : &*at;
  }
  void check_keys(const json& object, const std::string& place,
                  std::span<const std::string_view> known) {
    for (const auto& [key, value] : object.items()) {
      if (std::ranges::find(known, key) != known.end()) continue;
      std::string list;
      for (const std::string_view name : known) {
        list += (list.empty() ? "" : ", ") + std::string(name);
      }
      mistake(place + "/" + key, "there is no such key here; there are: " + list);
    }
  }
  std::string text(const json& value, const std::string& place, size_t max_bytes) {
    if (!value.is_string()) {
      mistake(place, "must be text");
      return {};
    }
    const auto& string = value.get_ref<const std::string&>();
    if (string.size() > max_bytes || string.find('\0') != std::string::npos) {
      mistake(place, "must be text of at most " + std::to_string(max_bytes) + " bytes without NUL");
      return {};
    }
    return string;
  }

  Edit edit(const json& value, const std::string& place) {
    Edit edit;
    if (!value.is_object()) {
      mistake(place, "an edit must be an object");
      return edit;
    }
    const json* op = find(value, "op");
    const auto known = std::ranges::find_if(kOps, [&](Op candidate) {
      return op != nullptr && op->is_string() &&
             op->get_ref<const std::string&>() == state::to_string(candidate);
    });
    if (known == kOps.end()) {
      mistake(
          place + (op == nullptr ? "" : "/op"),
          "\"op\" must be one of claim, release, replace, move, peer_add, peer_set, peer_remove");
      return edit;
    }
    edit.op = *known;
    if (const json* tunnel = find(value, "tunnel")) {
      edit.tunnel = text(*tunnel, place + "/tunnel", 255);
    } else {
      mistake(place, "\"tunnel\" is missing");
    }
    switch (edit.op) {
      case Op::Claim:
      case Op::Release:
      case Op::Replace:
        owner_edit(value, place, edit);
        break;
      case Op::Move:
        move_edit(value, place, edit);
        break;
      case Op::PeerAdd:
        add_edit(value, place, edit);
        break;
      case Op::PeerSet:
        set_edit(value, place, edit);
        break;
      default: {
        static constexpr std::string_view kKeys[] = {"op", "tunnel", "peer"};
        check_keys(value, place, kKeys);
        edit.peer = peer(value, "peer", place);
      }
    }
    return edit;
  }

  void owner_edit(const json& value, const std::string& place, Edit& edit) {
    static constexpr std::string_view kKeys[] = {"op", "tunnel", "peer", "prefixes"};
    check_keys(value, place, kKeys);
    edit.peer = peer(value, "peer", place);
    edit.prefixes = prefixes(value, place, true);
  }

  void move_edit(const json& value, const std::string& place, Edit& edit) {
    static constexpr std::string_view kKeys[] = {"op", "tunnel", "from", "to", "prefixes"};
    check_keys(value, place, kKeys);
    edit.peer = peer(value, "from", place);
    edit.to = peer(value, "to", place);
    edit.prefixes = prefixes(value, place, true);
  }

  // `peer` is the name, with the key in `public_key`, or the key, with an optional name in `name`.
  void add_edit(const json& value, const std::string& place, Edit& edit) {
    static constexpr std::string_view kKeys[] = {"op",
                                                 "tunnel",
                                                 "peer",
                                                 "name",
                                                 "public_key",
                                                 "description",
                                                 "preshared_key",
                                                 "endpoint",
                                                 "persistent_keepalive",
                                                 "enabled",
                                                 "prefixes"};
    check_keys(value, place, kKeys);
    PeerPatch attributes = patch(value, place);
    const json* key = find(value, "public_key");
    if (key != nullptr) {
      if (const auto bytes = key_bytes(*key, place + "/public_key")) {
        edit.public_key.bytes = *bytes;
      }
    }
    if (find(value, "peer") != nullptr) {
      const state::PeerSelector selector = peer(value, "peer", place);
      if (const auto* by_key = std::get_if<PublicKey>(&selector)) {
        if (key != nullptr && edit.public_key != *by_key) {
          mistake(place + "/public_key", "is another key than that in \"peer\"");
        }
        edit.public_key = *by_key;
        key = find(value, "peer");
      } else {
        const std::string& name = std::get<std::string>(selector);
        if (attributes.name && *attributes.name != name) {
          mistake(place + "/name", "is another name than that in \"peer\"");
        }
        check_name(name, place + "/peer");
        attributes.name = name;
      }
    }
    if (key == nullptr) mistake(place, "\"public_key\" is missing");
    edit.peer = edit.public_key;
    edit.patch = std::move(attributes);
    edit.prefixes = prefixes(value, place, false);
  }

  void set_edit(const json& value, const std::string& place, Edit& edit) {
    static constexpr std::string_view kKeys[] = {
        "op",          "tunnel",        "peer",     "name",
        "description", "preshared_key", "endpoint", "persistent_keepalive",
        "enabled"};
    check_keys(value, place, kKeys);
    edit.peer = peer(value, "peer", place);
    edit.patch = patch(value, place);
  }

  void check_name(const std::string& name, const std::string& place) {
    const std::string fault = config::peer_name_fault(name);
    if (!fault.empty()) mistake(place, fault);
  }

  PeerPatch patch(const json& value, const std::string& place) {
    PeerPatch patch;
    if (const json* v = find(value, "name")) {
      if (!v->is_null()) {
        patch.name = text(*v, place + "/name", config::kMaxPeerNameBytes);
        if (v->is_string() && !patch.name->empty()) check_name(*patch.name, place + "/name");
      } else {
        patch.name = "";
      }
    }
    if (const json* v = find(value, "description")) {
      patch.description = text(*v, place + "/description", config::kMaxDescriptionBytes);
      const std::string fault = config::description_fault(*patch.description);
      if (!fault.empty()) mistake(place + "/description", fault);
    }
    if (const json* v = find(value, "preshared_key")) {
      patch.preshared_key = PresharedKey();
      if (!v->is_null()) {
        if (const auto bytes = key_bytes(*v, place + "/preshared_key")) {
          patch.preshared_key = PresharedKey(*bytes);
        }
      }
    }
    if (const json* v = find(value, "endpoint")) {
      patch.endpoint = Endpoint{};
      if (!v->is_null()) {
        const auto endpoint =
            v->is_string() ? parse_endpoint(v->get_ref<const std::string&>()) : std::nullopt;
        if (endpoint) {
          patch.endpoint = *endpoint;
        } else {
          mistake(place + "/endpoint",
                  "must be ADDRESS:PORT or [ADDRESS]:PORT with an IP address, or null");
        }
      }
    }
    if (const json* v = find(value, "persistent_keepalive")) {
      if (v->is_number_unsigned() && v->get<uint64_t>() <= 65'535) {
        patch.persistent_keepalive = v->get<uint16_t>();
      } else {
        mistake(place + "/persistent_keepalive", "must be seconds from 0 (off) to 65535");
      }
    }
    if (const json* v = find(value, "enabled")) {
      if (v->is_boolean()) {
        patch.enabled = v->get<bool>();
      } else {
        mistake(place + "/enabled", "must be true or false");
      }
    }
    return patch;
  }

  std::optional<std::array<uint8_t, kKeyBytes>> key_bytes(const json& value,
                                                          const std::string& place) {
    const auto key = value.is_string() ? base::key_from_base64(value.get_ref<const std::string&>())
                                       : std::nullopt;
    if (!key) mistake(place, "must be a key: 32 bytes as 44 characters of base64");
    return key;
  }

  state::PeerSelector peer(const json& value, const char* key, const std::string& place) {
    const json* found = find(value, key);
    if (found == nullptr) {
      mistake(place, "\"" + std::string(key) + "\" is missing");
      return {};
    }
    const std::string name = text(*found, place + "/" + key, 255);
    if (found->is_string() && name.empty()) {
      mistake(place + "/" + key, "must be a peer's name or public key");
    }
    return state::parse_peer_selector(name);
  }

  std::vector<Prefix> prefixes(const json& value, const std::string& place, bool required) {
    std::vector<Prefix> list;
    const json* found = find(value, "prefixes");
    if (found == nullptr) {
      if (required) mistake(place, "\"prefixes\" is missing");
      return list;
    }
    if (!found->is_array()) {
      mistake(place + "/prefixes", "must be a list of prefixes");
      return list;
    }
    list.reserve(found->size());
    for (size_t i = 0; i < found->size() && !full(); ++i) {
      const json& item = (*found)[i];
      const std::string at = place + "/prefixes/" + std::to_string(i);
      const auto parsed = item.is_string()
                              ? parse_interface_address(item.get_ref<const std::string&>())
                              : std::nullopt;
      if (!parsed) {
        mistake(at, "must be a prefix such as 10.8.0.2/32 or fd00:8::/64");
      } else if (parsed->subnet().address != parsed->address) {
        mistake(at, to_string(*parsed) + " has host bits set; did you mean " +
                        to_string(parsed->subnet()) + "?");
      } else {
        list.push_back(parsed->subnet());
      }
    }
    return list;
  }
};

}  // namespace

Result<std::string, std::string> read_comment(std::string_view text) {
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  if (text.find('\n') != text.npos) {
    return fail(std::string("has several lines; one line of printable text is expected"));
  }
  if (auto fault = config::text_fault(text, kMaxCommentBytes, false); !fault.empty()) {
    return fail(std::move(fault));
  }
  return std::string(text);
}

Result<Transaction, std::vector<Mistake>> parse_transaction(std::string_view text,
                                                            DocumentFormat format) {
  const auto tree = format == DocumentFormat::Json ? parse_json_tree(text) : parse_yaml_tree(text);
  if (!tree) return fail(std::vector{tree.error()});
  Reader reader;
  Transaction transaction = reader.read(*tree);
  if (!reader.mistakes_.empty()) return fail(std::move(reader.mistakes_));
  return transaction;
}

}  // namespace turnpike::api

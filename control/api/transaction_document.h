// A transaction as a document, JSON or YAML (design, 8), into a value. Strict: what is not understood is a
// mistake, and every mistake is named with its place. Pure, so that a long document can be read on another
// thread than control's.
//   Bounds: kMaxMistakes reported; depth and length are the caller's (kMaxDocumentBytes).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/state/transaction.h"
#include "dataplane/base/result.h"

namespace turnpike::api {

inline constexpr size_t kMaxDocumentBytes = size_t{32} << 20;
inline constexpr size_t kMaxMistakes = 50;

enum class DocumentFormat : uint8_t { Json, Yaml };

struct Mistake {
  std::string place;  // a JSON pointer such as /edits/3/prefixes/0; of syntax: line and column
  std::string what;  // what is wrong, and what would be right
};

// The comment that a commit may have, from a document or beside one, or what is wrong with it. It is one line of plain
// text (older ones of the history may not be); that a block of YAML or a file ends with a line break is no part of it.
inline constexpr size_t kMaxCommentBytes = 1'000;
[[nodiscard]] Result<std::string, std::string> read_comment(std::string_view text);

[[nodiscard]] Result<state::Transaction, std::vector<Mistake>> parse_transaction(
    std::string_view text, DocumentFormat format);

}  // namespace turnpike::api

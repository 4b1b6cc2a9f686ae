// Any bytes as a transaction document, JSON and YAML: a transaction or mistakes with their places.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "control/api/transaction_document.h"
#include "dataplane/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turnpike;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto format : {api::DocumentFormat::Json, api::DocumentFormat::Yaml}) {
    const auto parsed = api::parse_transaction(text, format);
    if (!parsed) {
      CHECK(!parsed.error().empty() && parsed.error().size() <= api::kMaxMistakes + 1);
      for (const api::Mistake& mistake : parsed.error()) CHECK(!mistake.what.empty());
      continue;
    }
    CHECK(api::read_comment(parsed->comment) == parsed->comment);
    for (const state::Edit& edit : parsed->edits) {
      for (const Prefix& prefix : edit.prefixes) {
        CHECK(Prefix::masked(prefix.address, prefix.length) == prefix);
      }
    }
  }
  return 0;
}

// Any bytes as a configuration file: a value or mistakes, never a crash.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "config/load.h"
#include "dataplane/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto loaded = turnpike::config::parse_config(text, "fuzz.yaml", "/nonexistent");
  if (!loaded) {
    CHECK(!loaded.error().empty());
    for (const auto& error : loaded.error()) {
      CHECK(error.line >= 1 && error.column >= 1 && !error.message.empty());
    }
  }
  return 0;
}

// A key has one base64 form: what is read is written back as the same text.
#include <string_view>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/base/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turnpike::base;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto key = key_from_base64(text)) CHECK(key_to_base64(*key) == text);
  std::vector<uint8_t> bytes(size / 2);
  if (from_hex(text, bytes)) CHECK(to_hex(bytes).size() == size);
  return 0;
}

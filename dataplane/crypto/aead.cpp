#include "dataplane/crypto/aead.h"

#include "dataplane/crypto/aead_backends.h"

namespace turnpike::crypto {

std::unique_ptr<Aead> make_aead(AeadBackend backend) {
  switch (backend) {
    case AeadBackend::IpsecMb:
      return make_ipsec_mb_aead();
    case AeadBackend::Libsodium:
      return make_libsodium_aead();
    case AeadBackend::Cryptodev:
      return nullptr;
    case AeadBackend::Auto:
      break;
  }
  if (auto aead = make_ipsec_mb_aead()) return aead;
  return make_libsodium_aead();
}

std::string_view to_string(AeadBackend backend) noexcept {
  switch (backend) {
    case AeadBackend::Auto:
      return "auto";
    case AeadBackend::IpsecMb:
      return "ipsec-mb";
    case AeadBackend::Libsodium:
      return "libsodium";
    case AeadBackend::Cryptodev:
      return "cryptodev";
  }
  return "";
}

std::optional<AeadBackend> parse_aead_backend(std::string_view name) noexcept {
  for (const AeadBackend backend :
       {AeadBackend::Auto, AeadBackend::IpsecMb, AeadBackend::Libsodium, AeadBackend::Cryptodev}) {
    if (name == to_string(backend)) return backend;
  }
  return std::nullopt;
}

}  // namespace turnpike::crypto

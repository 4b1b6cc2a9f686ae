// What can be judged only when the whole file is read: names that must be unique, names that must
// exist, prefixes and addresses that must not meet.
#pragma once

#include "config/config.h"
#include "config/report.h"

namespace turnpike::config {

// How a public key is made of a private one: cryptography is none of this folder's business.
using PublicKeyOf = PublicKey (*)(const PrivateKey&) noexcept;

// Passes over the placeholders that mistakes left (see DocumentReader). Without `public_key_of` a tunnel's own
// key among its peers is not noticed.
void check(const Config& config, PublicKeyOf public_key_of, Report& report);

}  // namespace turnpike::config

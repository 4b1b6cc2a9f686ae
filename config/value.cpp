#include "config/value.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <string>
#include <system_error>

#include "config/plain_text.h"
#include "dataplane/base/text.h"

namespace turnpike::config {
namespace {

// Why `text` is no ADDRESS/LENGTH.
std::string prefix_fault(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = parse_ip(text.substr(0, slash));
  if (!address) {
    return cat({quote(text), " is no IPv4 or IPv6 address with a prefix length; ",
                "10.8.0.2/32 or fd00:8::2/128 would be"});
  }
  const std::string_view length = text.substr(slash + 1);
  unsigned bits = 0;
  const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), bits);
  if (error == std::errc() && end == length.data() + length.size() &&
      bits > address->width_bits()) {
    return cat({"prefix length ", length, " is above ", std::to_string(address->width_bits())});
  }
  return cat({quote(length), " is no prefix length; a number from 0 to ",
              std::to_string(address->width_bits()), " is expected"});
}

std::string error_text(int number) { return std::generic_category().message(number); }

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

std::optional<IpAddress> read_address(const Node& node, const Path& path, Report& report) {
  const auto address = parse_ip(node.text);
  if (!address) {
    report.mistake(node.at, path,
                   cat({quote(node.text), " is no IPv4 or IPv6 address; ",
                        "192.0.2.254 or 2001:db8::fe would be"}));
  }
  return address;
}

std::optional<InterfaceAddress> read_own_address(const Node& node, const Path& path,
                                                 Report& report) {
  const auto address = parse_interface_address(node.text);
  if (!address) report.mistake(node.at, path, prefix_fault(node.text));
  return address;
}

std::optional<Prefix> read_prefix(const Node& node, const Path& path, Report& report) {
  const auto address = read_own_address(node, path, report);
  if (!address) return std::nullopt;
  const Prefix masked = address->subnet();
  if (masked.address == address->address) return masked;
  report.mistake(node.at, path,
                 cat({quote(node.text), " has bits set behind its length; ", to_string(masked),
                      " is the prefix that it lies in"}));
  return std::nullopt;
}

std::optional<Endpoint> read_endpoint(const Node& node, const Path& path, Report& report) {
  const auto endpoint = parse_endpoint(node.text);
  if (!endpoint) {
    report.mistake(node.at, path,
                   cat({quote(node.text), " is no ADDRESS:PORT; 198.51.100.7:51820 or ",
                        "[2001:db8::7]:51820 would be (host names are not resolved)"}));
  }
  return endpoint;
}

std::optional<KeyBytes> read_key(std::string_view text, Location at, const Path& path,
                                 Report& report) {
  auto bytes = base::key_from_base64(text);
  if (!bytes) {
    report.mistake(at, path,
                   text.size() == 44 ? "is no key; its 44 characters are not the base64 of 32 bytes"
                                     : cat({"is no key; it has ", std::to_string(text.size()),
                                            " characters, the base64 of 32 bytes has 44"}));
    return std::nullopt;
  }
  KeyBytes key;
  key.bytes = *bytes;
  wipe(bytes->data(), bytes->size());
  if (equal_constant_time(key.bytes, std::array<uint8_t, kKeyBytes>{})) {
    report.mistake(at, path, "is the all-zero key, which stands for no key; leave it out");
    return std::nullopt;
  }
  return key;
}

std::optional<KeyBytes> read_key_file(const std::filesystem::path& base, const Node& name,
                                      const Path& path, Report& report) {
  const std::string file = (base / name.text).lexically_normal().string();
  const auto refuse = [&](std::string_view why) {
    report.mistake(name.at, path, cat({"key file ", quote(file, file.size()), " ", why}));
    return std::nullopt;
  };
  if (name.text.empty()) {
    report.mistake(name.at, path, "is empty; the name of a file is expected");
    return std::nullopt;
  }
  // Without O_NONBLOCK the open of a named pipe would wait for a writer.
  const File opened(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (opened.fd() < 0) return refuse(cat({"cannot be opened: ", error_text(errno)}));
  struct stat status{};
  if (::fstat(opened.fd(), &status) != 0) return refuse(error_text(errno));
  if (!S_ISREG(status.st_mode)) return refuse("is no regular file");

  // More than a key and the white space that editors leave.
  std::array<char, 256> buffer;
  size_t size = 0;
  std::optional<KeyBytes> key;
  ssize_t got = 1;
  while (size < buffer.size() && got > 0) {
    got = ::read(opened.fd(), buffer.data() + size, buffer.size() - size);
    if (got > 0) size += static_cast<size_t>(got);
  }
  if (got < 0) {
    wipe(buffer.data(), buffer.size());
    return refuse(cat({"cannot be read: ", error_text(errno)}));
  }
  std::string_view text(buffer.data(), size);
  constexpr std::string_view kWhite = " \t\r\n";
  const size_t first = text.find_first_not_of(kWhite);
  text = first == std::string_view::npos
             ? std::string_view()
             : text.substr(first, text.find_last_not_of(kWhite) + 1 - first);
  if (text.size() != 44) {
    wipe(buffer.data(), buffer.size());
    return refuse("does not hold one key of 44 base64 characters");
  }
  key = read_key(text, name.at, path, report);
  wipe(buffer.data(), buffer.size());
  if (key && (status.st_mode & (S_IROTH | S_IWOTH)) != 0) {
    report.warning(
        name.at, path,
        cat({"key file ", quote(file, file.size()), " is open to all users; chmod 600 closes it"}));
  }
  return key;
}

bool shaped_like_key(std::string_view text) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  return text.size() == 44 && text.back() == '=' &&
         text.substr(0, 43).find_first_not_of(kAlphabet) == std::string_view::npos;
}

std::string plain_name_fault(std::string_view name) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_=+.-";
  if (name.empty()) return "is empty; a name is expected";
  if (name.find_first_not_of(kAllowed) != std::string_view::npos) {
    return cat({quote(name), " is no good name; letters, digits and _ = + . - are allowed"});
  }
  if (name == "." || name == ".." || name.front() == '-') {
    return cat({quote(name), " is no good name; begin it with a letter or a digit"});
  }
  return {};
}

std::string description_fault(std::string_view description) {
  return text_fault(description, kMaxDescriptionBytes, true);
}

std::string peer_name_fault(std::string_view name) {
  if (name.empty()) return "is empty; leave the key out for a peer without name";
  if (std::string fault = text_fault(name, kMaxPeerNameBytes, false); !fault.empty()) return fault;
  if (shaped_like_key(name)) return "is shaped like a key; a name must not be taken for one";
  if (name.front() == '-' || name.front() == ' ' || name.back() == ' ') {
    return cat(
        {quote(name), " is no good name; it begins with - or begins or ends ", "with a blank"});
  }
  return {};
}

}  // namespace turnpike::config

// Stands in for libFuzzer where the compiler has none: runs a fuzz target over its corpus, then
// over seeded mutations of it.
//   usage: fuzz-NAME CORPUS-DIRECTORY
//   TURNPIKE_FUZZ_RUNS: mutations, 20,000 unless told; TURNPIKE_FUZZ_SEED: replays a run.
// When the target dies, its input is printed.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Input = std::vector<uint8_t>;

constexpr size_t kInputBytesMax = 4096;

// For the signal handler alone.
const Input* running = nullptr;

extern "C" void print_running(int signal_number) {
  constexpr char kDigits[] = "0123456789abcdef";
  constexpr char kTitle[] = "\nfuzz target died on this input (hexadecimal):\n";
  (void)!write(2, kTitle, sizeof(kTitle) - 1);
  for (size_t i = 0; running != nullptr && i < running->size(); ++i) {
    const char two[2] = {kDigits[(*running)[i] >> 4], kDigits[(*running)[i] & 15]};
    (void)!write(2, two, 2);
  }
  (void)!write(2, "\n", 1);
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

void run(const Input& input) {
  // An exact copy on the heap, so that a sanitizer sees a read past the end.
  const std::vector<uint8_t> exact(input.begin(), input.end());
  running = &input;
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  running = nullptr;
}

Input read_corpus_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class Mutator {
 public:
  Mutator(uint64_t seed, const std::vector<Input>& corpus) : random_(seed), corpus_(corpus) {}

  Input next() {
    Input input = corpus_[below(corpus_.size())];
    for (size_t i = 0, steps = 1 + below(6); i < steps; ++i) change(input);
    if (input.size() > kInputBytesMax) input.resize(kInputBytesMax);
    return input;
  }

 private:
  size_t below(size_t bound) { return bound == 0 ? 0 : static_cast<size_t>(random_() % bound); }

  void change(Input& input) {
    const size_t at = below(input.size());
    const auto here = input.begin() + static_cast<std::ptrdiff_t>(at);
    switch (below(9)) {
      case 0:  // one bit
        if (!input.empty()) input[at] ^= static_cast<uint8_t>(1u << below(8));
        break;
      case 1:  // one byte
        if (!input.empty()) input[at] = static_cast<uint8_t>(random_());
        break;
      case 2: {  // a value at the edge of something
        constexpr uint8_t kEdges[] = {0, 1, 0x7f, 0x80, 0xff, '0', '9', ':', '.', '/', '\n'};
        if (!input.empty()) input[at] = kEdges[below(std::size(kEdges))];
        break;
      }
      case 3:  // one up or down
        if (!input.empty()) input[at] = static_cast<uint8_t>(input[at] + (below(2) != 0 ? 1 : -1));
        break;
      case 4:  // some bytes more
        for (size_t i = 0, count = 1 + below(8); i < count; ++i) {
          input.insert(input.begin() + static_cast<std::ptrdiff_t>(below(input.size() + 1)),
                       static_cast<uint8_t>(random_()));
        }
        break;
      case 5:  // a part less
        if (!input.empty()) {
          input.erase(here, here + static_cast<std::ptrdiff_t>(1 + below(input.size() - at)));
        }
        break;
      case 6:  // shorter
        input.resize(at);
        break;
      case 7: {  // a part twice
        const Input part(here, here + static_cast<std::ptrdiff_t>(below(input.size() - at + 1)));
        input.insert(input.begin() + static_cast<std::ptrdiff_t>(below(input.size() + 1)),
                     part.begin(), part.end());
        break;
      }
      default: {  // the end of another
        const Input& other = corpus_[below(corpus_.size())];
        const auto from = other.begin() + static_cast<std::ptrdiff_t>(below(other.size() + 1));
        input.resize(at);
        input.insert(input.end(), from, other.end());
        break;
      }
    }
  }

  std::mt19937_64 random_;
  const std::vector<Input>& corpus_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s CORPUS-DIRECTORY\n", argv[0]);
    return 2;
  }
  for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE}) signal(number, print_running);

  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1], error)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  if (error || files.empty()) {
    std::fprintf(stderr, "%s: no corpus\n", argv[1]);
    return 1;
  }
  std::ranges::sort(files);  // the same seed gives the same run everywhere
  std::vector<Input> corpus;
  for (const auto& file : files) corpus.push_back(read_corpus_file(file));
  for (const Input& input : corpus) run(input);
  run({});

  const uint64_t runs = from_environment("TURNPIKE_FUZZ_RUNS", 20'000);
  const uint64_t seed = from_environment("TURNPIKE_FUZZ_SEED", std::random_device{}());
  std::printf("%zu corpus files, %llu mutations, TURNPIKE_FUZZ_SEED=%llu\n", corpus.size(),
              static_cast<unsigned long long>(runs), static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  Mutator mutator(seed, corpus);
  for (uint64_t i = 0; i < runs; ++i) run(mutator.next());
  return 0;
}

// Features by blocks. Rank 0 says block by block whether all compute it or it has a file of it.
//
// A file is as those of MapCache: 64 digits, the SHA-256 of its key and of what follows, then the
// rows, f32.
#include "trainers/image_features.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <optional>
#include <span>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "comm/shards.h"
#include "core/image/workers.h"
#include "core/io/cache.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "kernels/progress.h"
#include "trainers/evaluate.h"
#include "trainers/objective.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kDigits = 64;  // of a hash

/// What rank 0 asks of all for the block under way.
enum class PieceRequest : std::uint8_t { kCompute, kReceive, kNext };

std::string digits_of(const std::string& key, std::span<const float> rows) {
  io::Sha256 hash;
  hash.update(key.data(), key.size());
  hash.update(rows.data(), rows.size_bytes());
  return hash.finish();
}

class FeatureLoader {
 public:
  FeatureLoader(comm::Communicator& communicator, StepRunner& runner, const FeatureSource& source,
                const std::string& hashes, const fs::path& cache)
      : communicator_(communicator),
        runner_(runner),
        source_(source),
        hashes_(hashes),
        folder_(cache),
        cache_(cache) {
    const Shape& row = source_.network.executor().graph().node(source_.node).shape;
    features_.samples = source_.images.size();
    features_.width = row.elements();
    const bool needs_hashes = !hashes_.empty() || !folder_.empty();
    if (needs_hashes && hashes_.size() != kDigits * static_cast<std::size_t>(features_.samples)) {
      throw ShapeError(
          fmt::format("features: {} digits of hashes for {} images, {} each are needed",
                      hashes_.size(), features_.samples, kDigits));
    }
    features_.memory = communicator_.host_memory(static_cast<std::size_t>(features_.bytes()));
  }

  ImageFeatures load() {
    for (std::int64_t first = 0; first < features_.samples; first += kFeatureBlock) {
      block_ = {first, std::min(first + kFeatureBlock, features_.samples)};
      if (communicator_.rank() == 0) {
        provide();
        agree(PieceRequest::kNext);
        continue;
      }
      for (PieceRequest request = agree({}); request != PieceRequest::kNext; request = agree({})) {
        if (request == PieceRequest::kCompute) {
          compute();
        } else {
          spread(0, block_, nullptr);
        }
      }
    }
    communicator_.barrier();
    return features_;
  }

 private:
  PieceRequest agree(PieceRequest request) {
    communicator_.broadcast({&request, sizeof request}, 0);
    return request;
  }

  /// Rank 0: brings the block to all, out of the cache where that has it.
  void provide() {
    if (folder_.empty()) {
      agree(PieceRequest::kCompute);
      compute();
      return;
    }
    const std::string key = key_of_block();
    bool made = false;
    bool computing = false;
    const auto make = [&](const fs::path& file) {
      if (!made) {
        computing = true;
        agree(PieceRequest::kCompute);
        compute();
        computing = false;
        made = true;
      }
      write(file, key);
    };
    const auto wait = [this] {
      spdlog::info("features: waiting for another run, which computes some, to put them into {}",
                   folder_.string());
    };
    try {
      const fs::path file = cache_.get(key, make, wait);
      if (!made && !receive(file, key)) {
        cache_.put(key, make);
      }
    } catch (const IoError& error) {
      if (computing) {
        throw;
      }
      spdlog::warn("data.cache: features are not kept: {}", error.what());
    }
    if (!made && !received_) {  // no file, and nobody could make one
      agree(PieceRequest::kCompute);
      compute();
    }
    received_ = false;
  }

  /// Rank 0: brings a file's rows to all; false if it is damaged.
  bool receive(const fs::path& file, const std::string& key) {
    const io::Bytes bytes = io::read_file(file);
    const std::size_t size = block_floats() * sizeof(float);
    std::vector<float> rows(block_floats());
    if (bytes.size == kDigits + size) {
      std::memcpy(rows.data(), bytes.data.get() + kDigits, size);
      received_ = std::memcmp(digits_of(key, rows).data(), bytes.data.get(), kDigits) == 0;
    }
    if (!received_) {
      spdlog::warn("{}: is damaged, or not the features of its images: they are computed anew",
                   file.string());
      return false;
    }
    agree(PieceRequest::kReceive);
    spread(0, block_, rows.data());
    return true;
  }

  void write(const fs::path& file, const std::string& key) const {
    const std::span<const float> rows(features_.row(block_.first), block_floats());
    const std::string digits = digits_of(key, rows);
    io::PosixFile out(file, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    out.write(digits.data(), digits.size());
    out.write(rows.data(), rows.size_bytes());
  }

  /// Computes the block, each rank its chunks, and brings all of it to all. Collective.
  void compute() {
    const comm::PhaseScope phase(communicator_.activity(), comm::Phase::kEvaluating);
    const comm::Range mine = samples_of(communicator_.rank());
    std::vector<float> rows(static_cast<std::size_t>(mine.size() * features_.width));
    std::atomic<std::int64_t> next{mine.first};
    runner_.pool().run([&](int worker) {
      while (!runner_.pool().failed()) {
        const std::int64_t first = next.fetch_add(source_.chunk, std::memory_order_relaxed);
        if (first >= mine.last) {
          return;
        }
        const comm::Range chunk{first, std::min(first + source_.chunk, mine.last)};
        const std::vector<float> values = compute_chunk(runner_.worker(worker), chunk);
        std::ranges::copy(values, rows.begin() + (first - mine.first) * features_.width);
      }
    });
    for (int rank = 0; rank < communicator_.size(); ++rank) {
      spread(rank, samples_of(rank), rows.data());
    }
    communicator_.barrier();  // rank 0 may read what another rank of its host has written
    features_.computed += block_.size();
  }

  std::vector<float> compute_chunk(Worker& worker, const comm::Range& chunk) {
    Context context{runner_.device(), *worker.queue, nullptr, false, {}};
    context.bf16 = source_.bf16;
    std::vector<std::int64_t> indices(static_cast<std::size_t>(chunk.size()));
    std::iota(indices.begin(), indices.end(), chunk.first);
    indices.resize(static_cast<std::size_t>(source_.chunk), chunk.last - 1);
    const Tensor x = read_images(context, source_.images, source_.normalization, indices);
    const Tensor y = source_.network.compute(context, x, {&source_.node, 1})[0];
    const Tensor rows = y.slice(0, {chunk.size() * features_.width});
    return copy_to_host<float>(context.device, context.queue, rows);
  }

  /// The images of the block that a rank computes: whole chunks.
  [[nodiscard]] comm::Range samples_of(int rank) const {
    const std::int64_t chunks = (block_.size() + source_.chunk - 1) / source_.chunk;
    const comm::Range part = comm::part_of(chunks, communicator_.size(), rank);
    return {std::min(block_.first + part.first * source_.chunk, block_.last),
            std::min(block_.first + part.last * source_.chunk, block_.last)};
  }

  /// Rows of rank `root` to the place of these samples on every host. Collective.
  void spread(int root, const comm::Range& samples, const float* rows) {
    constexpr std::size_t kPiece = std::size_t{1} << 18;  // floats
    const auto count = static_cast<std::size_t>(samples.size() * features_.width);
    auto* const place =
        static_cast<float*>(features_.memory.data.get()) + samples.first * features_.width;
    std::vector<float> piece(std::min(kPiece, count));
    for (std::size_t at = 0; at < count; at += kPiece) {
      const std::size_t length = std::min(kPiece, count - at);
      if (communicator_.rank() == root) {
        std::copy_n(rows + at, length, piece.data());
      }
      communicator_.broadcast({piece.data(), length * sizeof(float)}, root);
      if (features_.memory.first) {
        std::copy_n(piece.data(), length, place + at);
      }
      progress::tick();
    }
  }

  [[nodiscard]] std::string key_of_block() const {
    const auto digits = static_cast<std::int64_t>(kDigits);
    const std::string text =
        fmt::format("features, {} together, {} numbers each, {}\n{}", source_.chunk,
                    features_.width, source_.identity,
                    hashes_.substr(static_cast<std::size_t>(block_.first * digits),
                                   static_cast<std::size_t>(block_.size() * digits)));
    return io::sha256(std::as_bytes(std::span(text)));
  }
  [[nodiscard]] std::size_t block_floats() const {
    return static_cast<std::size_t>(block_.size() * features_.width);
  }

  comm::Communicator& communicator_;
  StepRunner& runner_;
  const FeatureSource& source_;
  const std::string& hashes_;
  fs::path folder_;
  io::Cache cache_;
  ImageFeatures features_;
  comm::Range block_;
  bool received_ = false;  // rank 0: the block came out of a file
};

}  // namespace

std::string image_hashes(const data::Dataset& images, int threads,
                         comm::Communicator& communicator) {
  const comm::PhaseScope phase(communicator.activity(), comm::Phase::kEvaluating);
  const comm::Range mine = comm::part_of(images.size(), communicator.size(), communicator.rank());
  std::vector<std::string> hashes(static_cast<std::size_t>(mine.size()));
  const auto bytes = static_cast<std::size_t>(images.sample_shape().elements());
  image::for_each_index(hashes.size(), threads, [&](std::size_t i) {
    std::vector<std::uint8_t> pixels(bytes);
    images.read(mine.first + static_cast<std::int64_t>(i), pixels.data());
    hashes[i] = io::sha256(std::as_bytes(std::span(pixels)));
    progress::tick();
  });
  return fmt::format(
      "{}", fmt::join(communicator.all_gather_text(fmt::format("{}", fmt::join(hashes, ""))), ""));
}

ImageFeatures load_features(comm::Communicator& communicator, StepRunner& runner,
                            const FeatureSource& source, const std::string& hashes,
                            const std::filesystem::path& cache) {
  return FeatureLoader(communicator, runner, source, hashes, cache).load();
}

}  // namespace gentrain::trainers

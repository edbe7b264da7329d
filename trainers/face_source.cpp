// The cache has an entry for each set. That of the test set is made while the lock of the training
// set's is held, so that whoever finds the one finds the other.
#include "trainers/face_source.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "comm/shards.h"
#include "core/image/pack.h"
#include "core/image/workers.h"
#include "core/io/cache.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "kernels/progress.h"
#include "trainers/evaluate.h"
#include "trainers/face_preparation.h"
#include "trainers/image_source.h"
#include "trainers/units.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

/// What rank 0 asks of the others.
enum class Request : std::uint8_t { kPrepare, kReceive };

Request agree(Request request, comm::Communicator& communicator) {
  communicator.broadcast({&request, sizeof request}, 0);
  return request;
}

/// SHA-256 of photographs [part.first, part.last), 64 digits each; of one that cannot be read 64
/// times '-'.
std::string hashes_of(const image::Listing& listing, const comm::Range& part, int threads) {
  std::vector<std::string> hashes(static_cast<std::size_t>(part.size()));
  image::for_each_index(hashes.size(), threads, [&](std::size_t i) {
    const image::Listing::File& file = listing.files[static_cast<std::size_t>(part.first) + i];
    try {
      const io::Bytes bytes = io::read_file(listing.folder / file.name);
      hashes[i] = io::sha256({reinterpret_cast<const std::byte*>(bytes.data.get()), bytes.size});
    } catch (const IoError&) {
      hashes[i] = std::string(64, '-');
    }
    progress::tick();
  });
  return fmt::format("{}", fmt::join(hashes, ""));
}

/// What the faces depend on; `hashes` are those of all photographs, in order.
std::string key_text(const image::Listing& listing, const std::string& hashes,
                     const image::FaceOptions& options) {
  std::string text = fmt::format("faces, method {}, size {}, margin {}, test share {}, {}\n",
                                 image::kFaceMethod, options.size, options.margin,
                                 options.test_share, image::image_library().version());
  for (const image::Listing::File& file : listing.files) {
    text += file.name + '\0';
  }
  return text + hashes;
}

std::string key_of(const std::string& text, FacePart part) {
  const std::string whole = text + (part == FacePart::kTrain ? "train" : "test");
  return io::sha256(std::as_bytes(std::span(whole)));
}

io::Cache cache_of(const DataOptions& options) {
  return io::Cache(cache_folder(options));
}

/// Rank 0's view of the cache while the faces are fetched from it or made for it.
class Keeper {
 public:
  Keeper(const image::Listing& listing, const DataOptions& options, int threads,
         comm::Communicator& communicator)
      : listing_(listing), options_(options), threads_(threads), communicator_(communicator) {}

  /// The packs. Asks the other ranks to take part where there are none.
  KeptFaces get(const std::string& text) {
    const io::Cache cache = cache_of(options_);
    const auto wait = [&] {
      spdlog::info("faces: waiting for another run, which prepares them, to put them into {}",
                   cache_folder(options_).string());
    };
    KeptFaces kept;
    try {
      const auto test = [&] {
        kept.test = cache.get(
            key_of(text, FacePart::kTest),
            [&](const fs::path& file) { make(file, FacePart::kTest); }, wait);
      };
      const auto both = [&](const fs::path& file) {
        test();
        make(file, FacePart::kTrain);
      };
      kept.train = cache.get(key_of(text, FacePart::kTrain), both, wait);
      test();
    } catch (const IoError& error) {
      if (preparing_) {
        throw;
      }
      throw IoError(fmt::format("data.cache: prepared faces cannot be kept: {}", error.what()));
    }
    return kept;
  }
  /// Seconds that preparing took; nothing if the faces were there.
  [[nodiscard]] const std::optional<double>& seconds() const { return seconds_; }

 private:
  void make(const fs::path& file, FacePart part) {
    if (!seconds_) {
      prepare();
    }
    write_faces(file, faces_, part, options_.faces);
  }

  void prepare() {
    const auto start = std::chrono::steady_clock::now();
    preparing_ = true;
    spdlog::info(
        "faces: preparing {} photographs in {}, once for all runs: {} rank{} x {} thread{}",
        with_commas(std::ssize(listing_.files)), listing_.folder.string(), communicator_.size(),
        communicator_.size() == 1 ? "" : "s", threads_, threads_ == 1 ? "" : "s");
    agree(Request::kPrepare, communicator_);
    faces_ = prepare_faces(listing_, options_.faces, threads_, communicator_);
    preparing_ = false;
    seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  const image::Listing& listing_;
  const DataOptions& options_;
  int threads_;
  comm::Communicator& communicator_;
  PreparedFaces faces_;
  bool preparing_ = false;
  std::optional<double> seconds_;
};

/// A file of rank 0 for every rank, once on each host. Collective.
io::Bytes share(const fs::path& file, comm::Communicator& communicator) {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  io::Bytes bytes;
  if (communicator.rank() == 0) {
    bytes = io::read_file(file);
  }
  if (communicator.size() == 1) {
    return bytes;
  }
  std::uint64_t size = bytes.size;
  communicator.broadcast({&size, sizeof size}, 0);
  const comm::HostMemory memory = communicator.host_memory(size);
  auto* const whole = static_cast<std::uint8_t*>(memory.data.get());
  const io::Bytes piece = io::make_bytes(kPiece);
  for (std::size_t at = 0; at < size; at += kPiece) {
    const std::size_t length = std::min<std::size_t>(kPiece, size - at);
    if (communicator.rank() == 0) {
      std::memcpy(piece.data.get(), bytes.data.get() + at, length);
    }
    communicator.broadcast({piece.data.get(), length}, 0);
    if (memory.first) {
      std::memcpy(whole + at, piece.data.get(), length);
    }
  }
  communicator.barrier();  // from here on nobody writes
  return {{memory.data, whole}, size};
}

/// A pack that was read from the cache's file.
image::ImageSet open_kept(io::Bytes bytes, const fs::path& file) {
  try {
    return image::open_pack(std::move(bytes), file.string(), {});
  } catch (const IoError& error) {
    throw IoError(fmt::format(
        "{}: without this file of the cache the next run prepares the faces anew", error.what()));
  }
}

/// The line for the log.
std::string fact(const image::ImageSet& train, const fs::path& folder,
                 const std::optional<double>& seconds, const KeptFaces& kept) {
  const auto bytes = fs::file_size(kept.train) + fs::file_size(kept.test);
  return fmt::format("faces of {}: {} {} ({:.1f} MiB); {}", folder.string(),
                     seconds ? fmt::format("prepared in {:.1f} s, kept in", *seconds)
                             : "prepared before, taken from the cache",
                     kept.train.parent_path().string(), static_cast<double>(bytes) / kMib,
                     face_summary(train.more));
}

/// The hashes of all photographs, each rank making those of its part. Collective.
std::string gather_hashes(const image::Listing& listing, int threads,
                          comm::Communicator& communicator) {
  const comm::Range mine =
      comm::part_of(std::ssize(listing.files), communicator.size(), communicator.rank());
  return fmt::format(
      "{}", fmt::join(communicator.all_gather_text(hashes_of(listing, mine, threads)), ""));
}

}  // namespace

bool takes_photographs(const TrainOptions& options, comm::Communicator& communicator) {
  using Source = DataOptions::Source;
  if (options.data.source != Source::kAuto || !is_srgan(options.model)) {
    return options.data.source == Source::kLfw;
  }
  bool found = !find_photographs(options.data).empty();
  communicator.broadcast({&found, sizeof found}, 0);
  return found;
}

LoadedData load_faces(const DataOptions& options, int threads, comm::Communicator& communicator) {
  const image::Listing listing = list_photographs(options, communicator);
  const std::string hashes = gather_hashes(listing, threads, communicator);
  KeptFaces kept;
  std::optional<double> seconds;
  if (communicator.rank() == 0) {
    Keeper keeper(listing, options, threads, communicator);
    kept = keeper.get(key_text(listing, hashes, options.faces));
    seconds = keeper.seconds();
    agree(Request::kReceive, communicator);
  } else {
    while (agree(Request::kReceive, communicator) == Request::kPrepare) {
      prepare_faces(listing, options.faces, threads, communicator);
    }
  }
  const image::ImageSet train = open_kept(share(kept.train, communicator), kept.train);
  const image::ImageSet test = open_kept(share(kept.test, communicator), kept.test);
  LoadedData loaded;
  loaded.pair = {train.samples, test.samples, kImageNormalization, kImageNormalization};
  if (communicator.rank() == 0) {
    loaded.fact = fact(train, listing.folder, seconds, kept);
  }
  return loaded;
}

std::optional<KeptFaces> find_kept_faces(const DataOptions& options, int threads) {
  const auto alone = comm::make_single();
  const image::Listing listing = list_photographs(options, *alone);
  const std::string text =
      key_text(listing, gather_hashes(listing, threads, *alone), options.faces);
  const io::Cache cache = cache_of(options);
  auto train = cache.find(key_of(text, FacePart::kTrain));
  auto test = cache.find(key_of(text, FacePart::kTest));
  if (!train || !test) {
    return std::nullopt;
  }
  return KeptFaces{*std::move(train), *std::move(test)};
}

}  // namespace gentrain::trainers

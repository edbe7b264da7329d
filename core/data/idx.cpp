// MNIST's idx files, plain or gzip: a big-endian header, then bytes. Content goes straight into
// memory of the exact size, the four files in parallel.
#include <algorithm>
#include <array>
#include <future>
#include <limits>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <zlib.h>

#include "core/data/memory_dataset.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::data {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kImageMagic = 0x00000803;
constexpr std::uint32_t kLabelMagic = 0x00000801;
constexpr int kClasses = 10;
constexpr std::size_t kUnpacked = std::size_t{16} << 20;  // bytes that are unpacked at a time
constexpr std::string_view kAdvice =
    ": put the four files of https://ossci-datasets.s3.amazonaws.com/mnist/ there, name another "
    "folder, or take the built-in set (data.source: digits)";

[[noreturn]] void fail(const fs::path& path, const std::string& what) {
  throw IoError(fmt::format("{}: {}", path.string(), what));
}

/// The bytes of a file, unpacked if it begins like a gzip file, front to back.
class Source {
 public:
  explicit Source(fs::path path) : path_(std::move(path)), file_(path_, O_RDONLY) {
    file_.require_regular();
    left_ = file_.size();
    head_size_ = file_.read(head_.data(), head_.size());
    if (head_size_ == 2 && head_[0] == 0x1f && head_[1] == 0x8b) {
      open_gzip();
    }
  }
  ~Source() {
    if (stream_) {
      inflateEnd(&*stream_);
    }
  }
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  /// Bytes that can come at most: what a file's header claims is checked before memory is taken.
  [[nodiscard]] std::uint64_t most_bytes() const {
    constexpr std::uint64_t kBestCompression = 1032;
    return stream_ ? packed_.size * kBestCompression : left_;
  }
  /// Reads `size` bytes; fewer only if the content ends there.
  std::size_t read(std::uint8_t* data, std::size_t size) {
    const std::size_t count = stream_ ? inflate_to(data, size) : copy_to(data, size);
    left_ -= std::min<std::size_t>(left_, count);
    return count;
  }
  /// Throws unless the content ends here, undamaged.
  void expect_end() {
    std::uint8_t byte = 0;
    if (read(&byte, 1) != 0) {
      fail(path_, "holds more bytes than its header says");
    }
    if (stream_ && stream_->avail_in != 0) {
      fail(path_, fmt::format("{} bytes follow the gzip data", stream_->avail_in));
    }
  }
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  void open_gzip() {
    packed_ = io::make_bytes(left_);
    std::copy(head_.begin(), head_.end(), packed_.data.get());
    packed_.size = 2 + file_.read(packed_.data.get() + 2, left_ - 2);
    if (packed_.size > std::numeric_limits<uInt>::max()) {
      fail(path_, "gzip files above 4 GiB are not read: unpack it");
    }
    stream_.emplace();
    constexpr int kGzipOnly = 15 + 16;
    stream_->next_in = packed_.data.get();
    stream_->avail_in = static_cast<uInt>(packed_.size);
    if (inflateInit2(&*stream_, kGzipOnly) != Z_OK) {
      stream_.reset();
      fail(path_, "zlib cannot start");
    }
  }

  std::size_t copy_to(std::uint8_t* data, std::size_t size) {
    const std::size_t first = std::min(size, head_size_ - head_used_);
    std::copy_n(head_.begin() + static_cast<std::ptrdiff_t>(head_used_), first, data);
    head_used_ += first;
    return first + file_.read(data + first, size - first);
  }

  std::size_t inflate_to(std::uint8_t* data, std::size_t size) {
    std::size_t done = 0;
    while (done < size && !ended_) {
      const std::size_t piece = std::min<std::size_t>(size - done, kUnpacked);
      stream_->next_out = data + done;
      stream_->avail_out = static_cast<uInt>(piece);
      const int status = inflate(&*stream_, Z_SYNC_FLUSH);
      done += piece - stream_->avail_out;
      progress::tick();
      ended_ = status == Z_STREAM_END;
      if (status == Z_BUF_ERROR || (status == Z_OK && stream_->avail_out != 0)) {
        fail(path_, fmt::format("its gzip data is cut short after {} bytes", packed_.size));
      }
      if (status != Z_OK && !ended_) {
        fail(path_, fmt::format("its gzip data is damaged: {}",
                                stream_->msg != nullptr ? stream_->msg : zError(status)));
      }
    }
    return done;
  }

  fs::path path_;
  io::PosixFile file_;
  std::array<std::uint8_t, 2> head_{};
  std::size_t head_size_ = 0;
  std::size_t head_used_ = 0;
  std::size_t left_ = 0;  // of a plain file
  io::Bytes packed_;
  std::optional<z_stream> stream_;
  bool ended_ = false;
};

struct IdxArray {
  std::vector<std::int64_t> extents;
  io::Bytes bytes;
};

std::uint32_t big_endian(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
         std::uint32_t{bytes[2]} << 8 | bytes[3];
}

/// An idx array of bytes whose magic number, the rank in its last byte, is as given.
IdxArray read_idx(const fs::path& path, std::uint32_t magic) {
  Source source(path);
  const std::size_t rank = magic & 0xFF;
  const std::size_t header_bytes = 4 + 4 * rank;
  std::array<std::uint8_t, 16> header{};
  const std::size_t count = source.read(header.data(), header_bytes);
  if (count >= 4 && big_endian(header.data()) != magic) {
    fail(path,
         fmt::format("its magic number is {:#010x}, {:#010x} was needed ({})",
                     big_endian(header.data()), magic, magic == kImageMagic ? "images" : "labels"));
  }
  if (count < header_bytes) {
    fail(path, fmt::format("is truncated: {} bytes, its header alone has {}", count, header_bytes));
  }
  IdxArray array;
  constexpr std::uint64_t kTooMany = std::uint64_t{1} << 62;
  std::uint64_t needed = 1;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    const std::uint32_t extent = big_endian(header.data() + 4 + 4 * axis);
    if (extent == 0) {
      fail(path, fmt::format("holds no samples: extent {} of its header is 0", axis));
    }
    array.extents.push_back(extent);
    needed = needed > kTooMany / extent ? kTooMany : needed * extent;
  }
  if (needed > source.most_bytes()) {
    fail(path, fmt::format("is truncated: at most {} bytes of content, {} were needed",
                           source.most_bytes(), needed));
  }
  array.bytes = io::make_bytes(needed);
  if (const std::size_t got = source.read(array.bytes.data.get(), needed); got < needed) {
    fail(path, fmt::format("is truncated: only {} bytes of content, {} were needed", got, needed));
  }
  source.expect_end();
  return array;
}

fs::path packed_name(fs::path path) {
  return path += ".gz";
}

/// The file itself or, beside it, the one packed by gzip; empty if neither is there.
fs::path plain_or_packed(const fs::path& path) {
  for (const fs::path& name : {path, packed_name(path)}) {
    if (io::is_there(name)) {
      return name;
    }
  }
  return {};
}

fs::path find(const fs::path& path, std::string_view advice = "") {
  fs::path found = plain_or_packed(path);
  if (found.empty()) {
    throw IoError(fmt::format("{} is missing, and so is {}{}", path.string(),
                              packed_name(path).filename().string(), advice));
  }
  return found;
}

std::shared_ptr<const Dataset> combine(const fs::path& image_path, IdxArray images,
                                       const fs::path& label_path, const IdxArray& labels,
                                       std::string description) {
  const std::int64_t count = labels.extents[0];
  if (images.extents[0] != count) {
    throw IoError(fmt::format("{} holds {} images but {} holds {} labels", image_path.string(),
                              images.extents[0], label_path.string(), count));
  }
  const std::uint8_t* const first = labels.bytes.data.get();
  const std::uint8_t* const last = first + count;
  const auto bad = std::find_if(first, last, [](std::uint8_t label) { return label >= kClasses; });
  if (bad != last) {
    fail(label_path, fmt::format("label {} is {}, from 0 to {} were expected", bad - first, *bad,
                                 kClasses - 1));
  }
  return std::make_shared<MemoryDataset>(
      std::move(images.bytes), Shape{images.extents[1], images.extents[2], 1},
      std::vector<std::int32_t>(first, last), kClasses, std::move(description));
}

std::future<IdxArray> read_in_background(const fs::path& path, std::uint32_t magic) {
  return std::async(std::launch::async, [path, magic] { return read_idx(path, magic); });
}

}  // namespace

bool idx_exists(const std::filesystem::path& path) {
  return !plain_or_packed(path).empty();
}

DataPair load_mnist(const std::filesystem::path& folder) {
  const fs::path train_images = find(folder / "train-images-idx3-ubyte", kAdvice);
  const fs::path train_labels = find(folder / "train-labels-idx1-ubyte", kAdvice);
  const fs::path test_images = find(folder / "t10k-images-idx3-ubyte", kAdvice);
  const fs::path test_labels = find(folder / "t10k-labels-idx1-ubyte", kAdvice);
  auto train_x = read_in_background(train_images, kImageMagic);
  auto train_y = read_in_background(train_labels, kLabelMagic);
  auto test_x = read_in_background(test_images, kImageMagic);
  auto test_y = read_in_background(test_labels, kLabelMagic);
  const std::string description = "mnist in " + folder.string();
  DataPair pair;
  pair.train = combine(train_images, train_x.get(), train_labels, train_y.get(),
                       description + ", training set");
  pair.test =
      combine(test_images, test_x.get(), test_labels, test_y.get(), description + ", test set");
  if (pair.train->sample_shape() != pair.test->sample_shape()) {
    throw IoError(fmt::format("{}: samples are {} but in {} they are {}", train_images.string(),
                              pair.train->sample_shape().str(), test_images.string(),
                              pair.test->sample_shape().str()));
  }
  pair.train_normalization = {0.13066, 0.30811};
  pair.test_normalization = {0.13251, 0.31048};
  return pair;
}

std::shared_ptr<const Dataset> load_idx(const std::filesystem::path& images,
                                        const std::filesystem::path& labels) {
  const fs::path image_path = find(images);
  const fs::path label_path = find(labels);
  IdxArray x = read_idx(image_path, kImageMagic);
  const IdxArray y = read_idx(label_path, kLabelMagic);
  return combine(image_path, std::move(x), label_path, y, "idx file " + image_path.string());
}

std::shared_ptr<const Dataset> load_idx_images(const std::filesystem::path& images) {
  const fs::path path = find(images);
  IdxArray x = read_idx(path, kImageMagic);
  return std::make_shared<MemoryDataset>(
      std::move(x.bytes), Shape{x.extents[1], x.extents[2], 1},
      std::vector<std::int32_t>(static_cast<std::size_t>(x.extents[0]), -1), kClasses,
      "idx file " + path.string());
}

}  // namespace gentrain::data

// The four chunks that a PNG file needs, around zlib's stream. Every row is predicted by Paeth's
// filter: what it leaves of a photograph is nearly as small as the best of all filters.
// Source: ISO/IEC 15948.
#include "core/image/png_writer.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <zlib.h>

#include "core/io/atomic_file.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::image {
namespace {

constexpr std::int64_t kColours = 3;
constexpr std::uint8_t kPaeth = 4;  // the filter's number
constexpr int kLevel = 3;  // of zlib: most of what the highest one gains, in a fifth of its time
constexpr std::size_t kChunk = std::size_t{1} << 18;  // bytes of pixels in an IDAT chunk

void append_big(std::string& to, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    to.push_back(static_cast<char>(value >> shift & 0xFFU));
  }
}

/// Which of left, above and above left is nearest to left + above - above left.
int paeth(int left, int above, int corner) {
  const int to_left = std::abs(above - corner);
  const int to_above = std::abs(left - corner);
  const int to_corner = std::abs(left + above - 2 * corner);
  if (to_left <= to_above && to_left <= to_corner) {
    return left;
  }
  return to_above <= to_corner ? above : corner;
}

/// zlib's stream.
class Deflate {
 public:
  Deflate() {
    if (deflateInit(&stream_, kLevel) != Z_OK) {
      throw std::bad_alloc();
    }
  }
  ~Deflate() { deflateEnd(&stream_); }
  Deflate(const Deflate&) = delete;
  Deflate& operator=(const Deflate&) = delete;

  /// Calls take(bytes, number) with what comes out.
  template <class Take>
  void add(std::span<std::uint8_t> bytes, int flush, const Take& take) {
    stream_.next_in = bytes.data();
    stream_.avail_in = static_cast<unsigned>(bytes.size());
    do {
      stream_.next_out = out_.data();
      stream_.avail_out = static_cast<unsigned>(out_.size());
      deflate(&stream_, flush);  // cannot fail on a stream that is whole
      take(out_.data(), out_.size() - stream_.avail_out);
    } while (stream_.avail_out == 0);
  }

 private:
  z_stream stream_{};
  std::array<std::uint8_t, 16384> out_{};
};

}  // namespace

class PngWriter::Encoder {
 public:
  Encoder(const std::filesystem::path& path, std::int64_t h, std::int64_t w)
      : file_(path),
        left_(static_cast<std::size_t>(h)),
        above_(static_cast<std::size_t>(w * kColours)),
        filtered_(above_.size() + 1) {
    std::string header;
    append_big(header, static_cast<std::uint32_t>(w));
    append_big(header, static_cast<std::uint32_t>(h));
    header +=
        std::string("\x08\x02\x00\x00\x00", 5);  // 8 bits, RGB, the only methods, no interlace
    file_.write(std::string_view("\x89PNG\r\n\x1a\n", 8));
    write_chunk("IHDR", header);
  }

  void write(std::span<const std::uint8_t> rows) {
    if (rows.size() % above_.size() != 0 || rows.size() / above_.size() > left_) {
      throw ShapeError(fmt::format("png: {} bytes are not up to {} rows of {} bytes", rows.size(),
                                   left_, above_.size()));
    }
    for (; !rows.empty(); rows = rows.subspan(above_.size())) {
      add_row(rows.first(above_.size()));
      --left_;
      progress::tick();
    }
  }

  void finish(const std::function<void()>& before_rename) {
    if (left_ != 0) {
      throw ShapeError(fmt::format("png: {} rows are missing", left_));
    }
    compress({}, Z_FINISH);
    write_chunk("IDAT", compressed_);
    write_chunk("IEND", "");
    file_.commit(before_rename);
  }

 private:
  void write_chunk(std::string_view name, std::string_view content) {
    std::string begin;
    append_big(begin, static_cast<std::uint32_t>(content.size()));
    begin += name;
    const auto bytes = [](std::string_view text) {
      return reinterpret_cast<const std::uint8_t*>(text.data());
    };
    const std::size_t length = content.size();
    std::string end;
    append_big(end, static_cast<std::uint32_t>(crc32(crc32(0, bytes(name), 4), bytes(content),
                                                     static_cast<unsigned>(length))));
    file_.write(begin);
    file_.write(content);
    file_.write(end);
  }

  void add_row(std::span<const std::uint8_t> row) {
    constexpr auto kPixel = static_cast<std::size_t>(kColours);
    filtered_[0] = kPaeth;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const int left = i < kPixel ? 0 : row[i - kPixel];
      const int corner = i < kPixel ? 0 : above_[i - kPixel];
      filtered_[i + 1] = static_cast<std::uint8_t>(row[i] - paeth(left, above_[i], corner));
    }
    std::copy(row.begin(), row.end(), above_.begin());
    compress(filtered_, Z_NO_FLUSH);
  }

  void compress(std::span<std::uint8_t> bytes, int flush) {
    stream_.add(bytes, flush, [this](const std::uint8_t* out, std::size_t size) {
      compressed_.append(reinterpret_cast<const char*>(out), size);
    });
    if (compressed_.size() >= kChunk) {
      write_chunk("IDAT", compressed_);
      compressed_.clear();
    }
  }

  io::AtomicWriter file_;
  std::size_t left_;  // rows
  std::vector<std::uint8_t> above_;
  std::vector<std::uint8_t> filtered_;
  Deflate stream_;
  std::string compressed_;  // not written yet
};

PngWriter::PngWriter(const std::filesystem::path& path, std::int64_t h, std::int64_t w) {
  if (h < 1 || w < 1 || h > kMostExtent || w > kMostExtent) {
    throw ShapeError(fmt::format(
        "png: {} x {} pixels; from 1 to {} rows and columns can be written", h, w, kMostExtent));
  }
  encoder_ = std::make_unique<Encoder>(path, h, w);
}
PngWriter::~PngWriter() = default;

void PngWriter::write(std::span<const std::uint8_t> rows) {
  encoder_->write(rows);
}

void PngWriter::finish(const std::function<void()>& before_rename) {
  encoder_->finish(before_rename);
}

}  // namespace gentrain::image

// The built-in digits: skeletons, bent by a random affine map and a smooth random displacement,
// drawn with a round pen of random width, greyed and strewn with noise. Every image is a pure
// function of (seed, set, index); only additions, products, divisions and square roots are used, so
// that every processor draws the same bytes.
#include "core/data/digits.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "core/data/digit_glyphs.h"
#include "core/data/drawing.h"
#include "core/data/memory_dataset.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::data {
namespace {

constexpr int kSide = 28;
constexpr std::size_t kPixels = std::size_t{kSide} * kSide;
constexpr std::uint64_t kDigitStream = 0x646967697473;  // "digits"

// How far from a printed digit: ranges of what is drawn at random.
constexpr float kRotation = 0.3F;    // radians, either way
constexpr float kShear = 0.35F;      // either way
constexpr float kHeightLow = 15.0F;  // pixels
constexpr float kHeightHigh = 21.0F;
constexpr float kAspectLow = 0.6F;  // width over height
constexpr float kAspectHigh = 1.0F;
constexpr float kShift = 1.6F;   // pixels, either way
constexpr float kBend = 0.22F;   // displacement of a grid point over the height, either way
constexpr float kPenLow = 0.7F;  // radius in pixels
constexpr float kPenHigh = 1.6F;
constexpr float kInkLow = 140.0F;  // grey value of a stroke
constexpr float kInkHigh = 255.0F;
constexpr float kNoiseHigh = 50.0F;  // largest amplitude of the noise

/// Random numbers of one image, word by word.
class Dice {
 public:
  explicit Dice(const RngKey& key) : key_(key) {}

  std::uint32_t word() {
    if (used_ == 4) {
      block_ = key_.block(next_++);
      used_ = 0;
    }
    return block_[used_++];
  }
  int below(std::size_t bound) { return static_cast<int>((std::uint64_t{word()} * bound) >> 32); }
  float between(float low, float high) { return low + (high - low) * uniform_float(word()); }
  float either_way(float most) { return between(-most, most); }

 private:
  RngKey key_;
  std::uint64_t next_ = 0;
  PhiloxBlock block_{};
  std::size_t used_ = 4;
};

/// A smooth displacement of the unit square: a uniform cubic B-spline over a grid of random
/// vectors.
class Displacement {
 public:
  explicit Displacement(Dice& dice) {
    for (GlyphPoint& vector : grid_) {
      vector = {dice.either_way(kBend), dice.either_way(kBend)};
    }
  }

  [[nodiscard]] GlyphPoint at(const GlyphPoint& p) const {
    const Weights wx = weights(p.x);
    const Weights wy = weights(p.y);
    GlyphPoint sum;
    for (std::size_t j = 0; j < 4; ++j) {
      for (std::size_t i = 0; i < 4; ++i) {
        const GlyphPoint& vector = grid_[(wy.first + j) * kGrid + wx.first + i];
        sum.x += wy.weight[j] * wx.weight[i] * vector.x;
        sum.y += wy.weight[j] * wx.weight[i] * vector.y;
      }
    }
    return sum;
  }

 private:
  static constexpr int kCells = 3;
  static constexpr std::size_t kGrid = kCells + 3;
  struct Weights {
    std::size_t first = 0;
    std::array<float, 4> weight{};
  };

  static Weights weights(float x) {
    const float scaled = std::clamp(x, 0.0F, 1.0F) * kCells;
    const int cell = std::min(static_cast<int>(scaled), kCells - 1);
    const float t = scaled - static_cast<float>(cell);
    const float u = 1 - t;
    return {static_cast<std::size_t>(cell),
            {u * u * u / 6, (3 * t * t * t - 6 * t * t + 4) / 6,
             (3 * u * u * u - 6 * u * u + 4) / 6, t * t * t / 6}};
  }

  std::array<GlyphPoint, kGrid * kGrid> grid_;
};

/// From the unit square to pixels: scale, shear, rotation, shift.
class Affine {
 public:
  explicit Affine(Dice& dice) {
    const float angle = dice.either_way(kRotation);
    // Taylor series, as the library's sine differs between machines; the angle is small.
    const float square = angle * angle;
    const float sine = angle * (1 - square / 6 * (1 - square / 20));
    const float cosine = 1 - square / 2 * (1 - square / 12 * (1 - square / 30));
    const float height = dice.between(kHeightLow, kHeightHigh);
    const float width = height * dice.between(kAspectLow, kAspectHigh);
    const float shear = dice.either_way(kShear) * height;
    xx_ = cosine * width;
    xy_ = cosine * shear - sine * height;
    yx_ = sine * width;
    yy_ = sine * shear + cosine * height;
    constexpr float kCentre = (kSide - 1) / 2.0F;
    x_ = kCentre + dice.either_way(kShift);
    y_ = kCentre + dice.either_way(kShift);
  }

  [[nodiscard]] GlyphPoint map(const GlyphPoint& p) const {
    const float x = p.x - 0.5F;
    const float y = p.y - 0.5F;
    return {x_ + xx_ * x + xy_ * y, y_ + yx_ * x + yy_ * y};
  }

 private:
  float xx_, xy_, yx_, yy_, x_, y_;
};

/// For every pixel the squared distance to the nearest stroke, as far as a pen reaches.
class DistanceMap {
 public:
  explicit DistanceMap(float reach) : reach_(reach) {
    squares_.fill(std::numeric_limits<float>::max());
  }

  void add(const GlyphPoint& a, const GlyphPoint& b) {
    const float dx = b.x - a.x;
    const float dy = b.y - a.y;
    const float length = dx * dx + dy * dy;
    const float inverse = length > 0 ? 1 / length : 0;
    const int left = first_pixel(std::min(a.x, b.x));
    const int right = last_pixel(std::max(a.x, b.x));
    const int bottom = last_pixel(std::max(a.y, b.y));
    for (int y = first_pixel(std::min(a.y, b.y)); y <= bottom; ++y) {
      const float py = static_cast<float>(y) - a.y;
      float* const row = squares_.data() + std::ptrdiff_t{y} * kSide;
      for (int x = left; x <= right; ++x) {
        const float px = static_cast<float>(x) - a.x;
        const float t = std::min(std::max((px * dx + py * dy) * inverse, 0.0F), 1.0F);
        const float ex = px - t * dx;
        const float ey = py - t * dy;
        row[x] = std::min(row[x], ex * ex + ey * ey);
      }
    }
  }
  [[nodiscard]] float square(std::size_t pixel) const { return squares_[pixel]; }

 private:
  [[nodiscard]] int first_pixel(float least) const {
    return static_cast<int>(std::clamp(least - reach_ + 1, 0.0F, float{kSide}));
  }
  [[nodiscard]] int last_pixel(float most) const {
    return static_cast<int>(std::clamp(most + reach_ + 1, 0.0F, float{kSide})) - 1;
  }

  float reach_;
  std::array<float, kPixels> squares_{};
};

/// Draws an image and returns its digit.
std::int32_t draw(const RngKey& key, std::uint8_t* pixels) {
  Dice dice(key);
  const int digit = dice.below(10);
  const std::vector<Glyph>& variants = digit_glyphs(digit);
  const Glyph& glyph = variants[static_cast<std::size_t>(dice.below(variants.size()))];
  const Affine affine(dice);
  const Displacement displacement(dice);
  const float pen = dice.between(kPenLow, kPenHigh);
  const float ink = dice.between(kInkLow, kInkHigh);
  const float noise = dice.between(0, kNoiseHigh);

  const float reach = pen + 0.5F;
  DistanceMap distances(reach);
  for (const GlyphStroke& stroke : glyph) {
    GlyphPoint last;
    for (std::size_t i = 0; i < stroke.size(); ++i) {
      const GlyphPoint moved = displacement.at(stroke[i]);
      const GlyphPoint point = affine.map({stroke[i].x + moved.x, stroke[i].y + moved.y});
      if (i > 0) {
        distances.add(last, point);
      }
      last = point;
    }
  }
  for (std::size_t i = 0; i < kPixels; i += 2) {
    // Two pixels from one word; the noise of a pixel is a triangle: the difference of two bytes.
    const std::uint32_t word = dice.word();
    for (std::size_t j = 0; j < 2; ++j) {
      const auto bits = static_cast<int>(word >> (16 * j));
      const float grain = static_cast<float>((bits & 0xFF) - (bits >> 8 & 0xFF)) / 256;
      const float square = distances.square(i + j);
      const float cover = square < reach * reach ? std::min(reach - std::sqrt(square), 1.0F) : 0.0F;
      pixels[i + j] =
          static_cast<std::uint8_t>(std::clamp(cover * ink + grain * noise, 0.0F, 255.0F));
    }
  }
  return digit;
}

std::shared_ptr<const MemoryDataset> dataset_of(DrawnDigits digits, const char* description) {
  return std::make_shared<MemoryDataset>(std::move(digits.pixels), Shape{kSide, kSide, 1},
                                         std::move(digits.labels), 10, description);
}

}  // namespace

DrawnDigits::DrawnDigits(std::int64_t count) {
  if (count < 1) {
    throw ShapeError(fmt::format("digits: {} images, at least 1 is needed", count));
  }
  pixels = io::make_bytes(static_cast<std::size_t>(count) * kPixels);
  labels.resize(static_cast<std::size_t>(count));
}

void draw_digits(std::uint64_t seed, DigitSet set, std::int64_t first, std::int64_t last,
                 int threads, DrawnDigits& digits) {
  const RngKey key = RngKey(seed).fold(kDigitStream).fold(static_cast<std::uint64_t>(set));
  std::atomic<std::int64_t> next{first};
  const auto draw_some = [&] {
    constexpr std::int64_t kSome = 64;
    for (std::int64_t i = next.fetch_add(kSome); i < last; i = next.fetch_add(kSome)) {
      progress::tick();
      for (std::int64_t j = i; j < std::min(i + kSome, last); ++j) {
        const auto at = static_cast<std::size_t>(j);
        digits.labels[at] =
            draw(key.fold(static_cast<std::uint64_t>(j)), digits.pixels.data.get() + at * kPixels);
      }
    }
  };
  draw_on_threads(threads, draw_some);
}

DataPair digits_pair(DrawnDigits train, DrawnDigits test) {
  PixelStatistics statistics;
  statistics.add({train.pixels.data.get(), train.pixels.size});
  DataPair pair;
  pair.train = dataset_of(std::move(train), "built-in digits, training set");
  pair.test = dataset_of(std::move(test), "built-in digits, test set");
  pair.train_normalization = statistics.normalization();
  pair.test_normalization = pair.train_normalization;
  return pair;
}

DataPair make_digits(std::uint64_t seed, std::int64_t train_count, std::int64_t test_count,
                     int threads) {
  if (train_count < 1 || test_count < 1 || threads < 1) {
    throw ShapeError(
        fmt::format("digits: {} training and {} test images by {} threads: at least 1 of each",
                    train_count, test_count, threads));
  }
  DrawnDigits train(train_count);
  DrawnDigits test(test_count);
  draw_digits(seed, DigitSet::kTrain, 0, train_count, threads, train);
  draw_digits(seed, DigitSet::kTest, 0, test_count, threads, test);
  return digits_pair(std::move(train), std::move(test));
}

}  // namespace gentrain::data

// Faces out of ellipses and stripes.
#include "core/data/faces.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "core/data/drawing.h"
#include "core/data/memory_dataset.h"
#include "core/io/posix_file.h"
#include "kernels/error.h"
#include "kernels/philox.h"
#include "kernels/progress.h"

namespace gentrain::data {

namespace {

constexpr std::uint64_t kFaceStream = 0x46414345;
constexpr auto kFaceBytes = static_cast<std::size_t>(kFaceSide * kFaceSide * 3);

using Colour = std::array<float, 3>;  // 0..255

/// Random numbers of one face, in order.
class FaceDice {
 public:
  explicit FaceDice(RngKey key) : key_(key) {}
  float between(float low, float high) { return low + (high - low) * uniform_float(word()); }
  Colour colour(const Colour& low, const Colour& high) {
    const float t = between(0, 1);
    Colour result{};
    for (std::size_t i = 0; i < 3; ++i) {
      result[i] = low[i] + t * (high[i] - low[i]) + between(-8, 8);
    }
    return result;
  }

 private:
  std::uint32_t word() {
    if (used_ == 4) {
      block_ = key_.block(next_++);
      used_ = 0;
    }
    return block_[used_++];
  }

  RngKey key_;
  PhiloxBlock block_{};
  std::uint64_t next_ = 0;
  std::size_t used_ = 4;
};

/// An ellipse; lengths in pixels.
struct Ellipse {
  float x = 0;
  float y = 0;
  float across = 1;
  float down = 1;

  /// How much of the pixel at (px, py) it covers, 0..1.
  [[nodiscard]] float cover(float px, float py) const {
    const float u = (px - x) / across;
    const float v = (py - y) / down;
    const float r = std::sqrt(u * u + v * v);
    return std::clamp((1 - r) * std::min(across, down) + 0.5F, 0.0F, 1.0F);
  }
};

void mix(Colour& under, const Colour& over, float cover) {
  for (std::size_t i = 0; i < 3; ++i) {
    under[i] += cover * (over[i] - under[i]);
  }
}

Colour times(const Colour& colour, float factor) {
  return {colour[0] * factor, colour[1] * factor, colour[2] * factor};
}

/// -1..1, of period 1: a triangle, as its bytes are the same on every machine.
float wave(float t) {
  return std::abs(4 * (t - std::floor(t)) - 2) - 1;
}

/// What a face consists of.
class Face {
 public:
  explicit Face(FaceDice dice)
      : head_{dice.between(44, 52), dice.between(48, 54), dice.between(25, 31),
              dice.between(33, 39)},
        hair_{head_.x, head_.y - dice.between(6, 12), head_.across + dice.between(2, 7),
              head_.down - dice.between(-2, 4)},
        turn_(dice.between(-3, 3)),
        eye_gap_(dice.between(10, 13)),
        eye_y_(head_.y - dice.between(4, 8)),
        mouth_{head_.x + turn_, head_.y + dice.between(16, 20), dice.between(7, 12),
               dice.between(1.5F, 4.5F)},
        fringe_(dice.between(-20, -10)),
        strands_(dice.between(0.15F, 0.4F)),
        light_(dice.between(-0.35F, 0.35F)),
        skin_(dice.colour({96, 62, 44}, {238, 200, 176})),
        hair_colour_(dice.colour({26, 20, 16}, {196, 150, 90})),
        iris_(dice.colour({50, 34, 20}, {90, 130, 170})),
        lips_(dice.colour({130, 50, 50}, {200, 96, 96})),
        behind_(dice.colour({40, 60, 80}, {200, 205, 190})),
        behind_low_(dice.colour({20, 30, 30}, {150, 140, 150})),
        pattern_(dice.between(0.02F, 0.12F)) {}

  [[nodiscard]] Colour at(float x, float y) const {
    Colour colour = behind_;
    mix(colour, behind_low_, y / static_cast<float>(kFaceSide));
    colour = times(colour, 1 + 0.08F * wave(pattern_ * (x + 2 * y)));
    mix(colour, strand(x, y), hair_.cover(x, y));
    const float shade =
        1 + light_ * (x - head_.x) / head_.across - 0.12F * std::abs(y - head_.y) / head_.down;
    const float forehead = std::clamp(y - (head_.y + fringe_ + wave(strands_ * x / 2)), 0.0F, 1.0F);
    mix(colour, times(skin_, shade), head_.cover(x, y) * forehead);
    for (const float side : {-1.0F, 1.0F}) {
      draw_eye(colour, x, y, side);
    }
    draw_nose(colour, x, y);
    draw_mouth(colour, x, y);
    return colour;
  }

 private:
  [[nodiscard]] Colour strand(float x, float y) const {
    const float bend = (y - hair_.y) * (x - hair_.x) / hair_.across / 24;
    return times(hair_colour_, 1 + 0.35F * wave(strands_ * (x + bend)));
  }
  void draw_eye(Colour& colour, float x, float y, float side) const {
    const float ex = head_.x + turn_ + side * eye_gap_;
    mix(colour, times(hair_colour_, 0.8F), Ellipse{ex, eye_y_ - 7, 6, 1.3F}.cover(x, y));
    mix(colour, times(skin_, 0.6F), Ellipse{ex, eye_y_ - 0.6F, 6, 3.2F}.cover(x, y));
    const float white = Ellipse{ex, eye_y_, 5.2F, 2.5F}.cover(x, y);
    Colour eye{236, 234, 230};
    mix(eye, iris_, Ellipse{ex, eye_y_, 2.4F, 2.4F}.cover(x, y));
    mix(eye, {12, 10, 10}, Ellipse{ex, eye_y_, 1.1F, 1.1F}.cover(x, y));
    mix(eye, {250, 250, 250}, Ellipse{ex - 0.9F, eye_y_ - 0.9F, 0.7F, 0.7F}.cover(x, y));
    mix(colour, eye, white);
  }
  void draw_nose(Colour& colour, float x, float y) const {
    const float nx = head_.x + 1.4F * turn_;
    mix(colour, times(skin_, 1.15F), 0.6F * Ellipse{nx, head_.y + 4, 1.5F, 8}.cover(x, y));
    for (const float side : {-1.0F, 1.0F}) {
      mix(colour, times(skin_, 0.45F),
          Ellipse{nx + side * 2.5F, head_.y + 11, 1.3F, 0.9F}.cover(x, y));
    }
  }
  void draw_mouth(Colour& colour, float x, float y) const {
    mix(colour, lips_,
        Ellipse{mouth_.x, mouth_.y, mouth_.across + 1.5F, mouth_.down + 1.8F}.cover(x, y));
    Colour inside{60, 20, 20};
    const float tooth = std::abs(wave((x - mouth_.x) / 2.6F)) > 0.8F ? 0.72F : 1.0F;
    mix(inside, times({240, 236, 226}, tooth), std::clamp(mouth_.y + 0.6F - y, 0.0F, 1.0F));
    mix(colour, inside, mouth_.cover(x, y));
  }

  Ellipse head_;
  Ellipse hair_;
  float turn_;
  float eye_gap_;
  float eye_y_;
  Ellipse mouth_;
  float fringe_;
  float strands_;  // of hair, for each pixel
  float light_;
  Colour skin_;
  Colour hair_colour_;
  Colour iris_;
  Colour lips_;
  Colour behind_;
  Colour behind_low_;
  float pattern_;
};

void draw_face(RngKey key, std::uint8_t* pixels) {
  const Face face{FaceDice(key)};
  for (std::int64_t y = 0; y < kFaceSide; ++y) {
    for (std::int64_t x = 0; x < kFaceSide; ++x) {
      for (const float value : face.at(static_cast<float>(x), static_cast<float>(y))) {
        *pixels++ = static_cast<std::uint8_t>(std::clamp(value, 0.0F, 255.0F));
      }
    }
  }
}

std::shared_ptr<const Dataset> draw_set(RngKey key, std::int64_t count, int threads,
                                        const char* description) {
  io::Bytes pixels = io::make_bytes(static_cast<std::size_t>(count) * kFaceBytes);
  std::atomic<std::int64_t> next{0};
  const auto draw_some = [&] {
    for (std::int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      draw_face(key.fold(static_cast<std::uint64_t>(i)),
                pixels.data.get() + static_cast<std::size_t>(i) * kFaceBytes);
      progress::tick();
    }
  };
  draw_on_threads(threads, draw_some);
  return std::make_shared<MemoryDataset>(std::move(pixels), Shape{kFaceSide, kFaceSide, 3},
                                         std::vector<std::int32_t>(static_cast<std::size_t>(count)),
                                         1, description);
}

}  // namespace

DataPair make_faces(std::uint64_t seed, std::int64_t train_count, std::int64_t test_count,
                    int threads) {
  if (train_count < 1 || test_count < 1 || threads < 1) {
    throw ShapeError(
        fmt::format("faces: {} training and {} test images by {} threads: at least 1 of each",
                    train_count, test_count, threads));
  }
  const RngKey key = RngKey(seed).fold(kFaceStream);
  DataPair pair;
  pair.train = draw_set(key.fold(0), train_count, threads, "built-in faces, training set");
  pair.test = draw_set(key.fold(1), test_count, threads, "built-in faces, test set");
  pair.train_normalization = {0.5, 0.5};
  pair.test_normalization = pair.train_normalization;
  return pair;
}

}  // namespace gentrain::data

// The built-in digits part by part: ranks draw a part each and gather the rest from the others.
#pragma once

#include <cstdint>
#include <vector>

#include "core/data/dataset.h"
#include "core/io/posix_file.h"

namespace gentrain::data {

enum class DigitSet : std::uint8_t { kTrain = 0, kTest = 1 };

/// Room for the images and labels of a set. Throws ShapeError for a count below 1.
struct DrawnDigits {
  explicit DrawnDigits(std::int64_t count);
  io::Bytes pixels;  // [count, 28, 28, 1]
  std::vector<std::int32_t> labels;
};

/// Draws the images [first, last) of a set, 0 <= first <= last <= count, to their places in
/// `digits`, with up to `threads` threads (fewer if the host starts no more); the same bytes for
/// any parts and threads.
void draw_digits(std::uint64_t seed, DigitSet set, std::int64_t first, std::int64_t last,
                 int threads, DrawnDigits& digits);

/// The data sets of both, whole, with their statistics. Each needs an image at least.
DataPair digits_pair(DrawnDigits train, DrawnDigits test);

}  // namespace gentrain::data

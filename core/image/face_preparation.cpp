// One photograph at a time.
#include "core/image/face_preparation.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "core/io/sha256.h"
#include "kernels/error.h"

namespace gentrain::image {
namespace {

namespace fs = std::filesystem;

bool lies_inside(const Rectangle& part, const Image& image) {
  return part.x >= 0 && part.y >= 0 && part.x + part.w <= image.w && part.y + part.h <= image.h;
}

}  // namespace

std::string_view name_of(FaceOutcome outcome) {
  switch (outcome) {
    case FaceOutcome::kKept:
      return "kept";
    case FaceOutcome::kNone:
      return "none";
    case FaceOutcome::kSeveral:
      return "several";
    case FaceOutcome::kOutside:
      return "outside";
    case FaceOutcome::kSmall:
      return "small";
    case FaceOutcome::kUnreadable:
      break;
  }
  return "unreadable";
}

Rectangle square_around(const Rectangle& face, double margin) {
  constexpr std::int64_t kRaised = 20;
  const std::int64_t side = std::llround(margin * static_cast<double>(std::max(face.w, face.h)));
  return {face.x + (face.w - side) / 2, face.y + (face.h - side) / 2 - side / kRaised, side, side};
}

PreparedFace prepare_face(const Image& photograph, const FaceOptions& options) {
  if (options.size < 1 || !(options.margin >= 1)) {
    throw ShapeError(
        fmt::format("faces: a size of {} and a margin of {} were wanted, each must be at least 1",
                    options.size, options.margin));
  }
  if (std::min(photograph.h, photograph.w) < options.size) {
    return {FaceOutcome::kSmall, {}, {}};
  }
  const ImageLibrary& library = image_library();
  const std::vector<Rectangle> faces = library.detect_frontal_faces(photograph);
  if (faces.size() != 1) {
    return {faces.empty() ? FaceOutcome::kNone : FaceOutcome::kSeveral, {}, {}};
  }
  const Rectangle square = square_around(faces.front(), options.margin);
  if (!lies_inside(square, photograph)) {
    return {FaceOutcome::kOutside, {}, {}};
  }
  if (square.h < options.size) {
    return {FaceOutcome::kSmall, {}, {}};
  }
  const Image cut = library.with_channels(cut_out(photograph, square), 3);
  return {FaceOutcome::kKept,
          library.resize(cut, options.size, options.size, Interpolation::kArea),
          {}};
}

PreparedFace prepare_face_file(const std::filesystem::path& path, const FaceOptions& options) {
  Image photograph;
  try {
    photograph = read_image(path);
  } catch (const IoError& error) {
    return {FaceOutcome::kUnreadable, {}, error.what()};
  }
  return prepare_face(photograph, options);
}

bool is_test_face(std::string_view name, double share) {
  const std::string hash = io::sha256(std::as_bytes(std::span(name)));
  const std::uint64_t first = std::stoull(hash.substr(0, 16), nullptr, 16);
  return std::ldexp(static_cast<double>(first), -64) < share;
}

}  // namespace gentrain::image

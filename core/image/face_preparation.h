// From a photograph to the training image of a face: which photographs are kept, what is cut out of
// them, and which set it belongs to. Pure functions: neither the order of the files nor who looks
// at them matters.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/image/image.h"

namespace gentrain::image {

/// Raised by every change that gives other faces, or other bytes of a pack of them: it is part of
/// the key under which prepared faces are kept.
inline constexpr int kFaceMethod = 1;

struct FaceOptions {
  std::int64_t size = 96;    // rows and columns of a prepared face
  double margin = 1.4;       // side of the square that is cut out over that of the face found, >= 1
  double test_share = 0.05;  // of the names, 0 < x < 1
  friend bool operator==(const FaceOptions&, const FaceOptions&) = default;
};

/// What becomes of a photograph.
enum class FaceOutcome : std::uint8_t {
  kKept,
  kNone,        // no frontal face was found
  kSeveral,     // more than one
  kOutside,     // the square around it leaves the frame
  kSmall,       // the square, or the photograph, has fewer than `size` rows or columns
  kUnreadable,  // no image, damaged, or a file that cannot be read
};
inline constexpr std::array<FaceOutcome, 6> kFaceOutcomes = {
    FaceOutcome::kKept,    FaceOutcome::kNone,  FaceOutcome::kSeveral,
    FaceOutcome::kOutside, FaceOutcome::kSmall, FaceOutcome::kUnreadable};

/// "kept", "none", "several", "outside", "small", "unreadable".
std::string_view name_of(FaceOutcome outcome);

struct PreparedFace {
  FaceOutcome outcome = FaceOutcome::kNone;
  Image face;          // kKept: [size, size, 3]
  std::string reason;  // kUnreadable: why, naming the file
};

/// The square that is cut out for a face: of round(margin * its longer side) pixels, around its
/// middle, raised by a twentieth of its side, since hair reaches further than chins. May leave the
/// frame.
Rectangle square_around(const Rectangle& face, double margin);

/// Looks for frontal faces (ImageLibrary::detect_frontal_faces()). Of a photograph with exactly one
/// the square around it is cut out and scaled to size x size pixels by averaging: it must lie
/// inside the frame and have at least that size, so that no pixel is invented.
///
/// photograph  [h, w, 3] or [h, w, 1]
///
/// Throws ShapeError unless size is at least 1 and margin at least 1; what ImageLibrary throws.
PreparedFace prepare_face(const Image& photograph, const FaceOptions& options);

/// The same of a file; what cannot be read or decoded is kUnreadable, not an error.
PreparedFace prepare_face_file(const std::filesystem::path& path, const FaceOptions& options);

/// Whether the photograph of this name, below its folder, belongs to the test set: if the first
/// eight bytes of the name's SHA-256, as a big-endian share of 2^64, lie below `share`. So a name
/// stays in its set whatever else is in the folder.
bool is_test_face(std::string_view name, double share);

}  // namespace gentrain::image

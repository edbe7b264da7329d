// The module: ImageLibrary by OpenCV. Its own threads are switched off, so that a call gives the
// same bytes wherever it runs. OpenCV keeps colours as BGR.
#include <algorithm>
#include <limits>
#include <tuple>

#include <fmt/format.h>
#include <opencv2/core.hpp>
#include <opencv2/core/ocl.hpp>
#include <opencv2/core/utility.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/objdetect.hpp>

#include "core/image/image.h"
#include "kernels/error.h"

namespace gentrain::image {
namespace {

constexpr const char* kCascade = GENTRAIN_CASCADE;

int type_of(std::int64_t channels) {
  return channels == 1 ? CV_8UC1 : CV_8UC3;
}

/// The image as OpenCV sees it, without a copy; nobody writes to it.
cv::Mat view(const Image& image) {
  constexpr std::int64_t kMost = std::numeric_limits<int>::max();
  if (image.h < 1 || image.w < 1 || (image.c != 1 && image.c != 3) || image.h > kMost ||
      image.w > kMost ||
      image.pixels.size() != static_cast<std::size_t>(image.h * image.w * image.c)) {
    throw ShapeError(
        fmt::format("image: {} bytes are no pixels of [{}, {}, {}] with 1 or 3 channels",
                    image.pixels.size(), image.h, image.w, image.c));
  }
  return {static_cast<int>(image.h), static_cast<int>(image.w), type_of(image.c),
          const_cast<std::uint8_t*>(image.pixels.data())};
}

/// An image to write into, and OpenCV's view of it.
struct Target {
  Target(std::int64_t h, std::int64_t w, std::int64_t c)
      : image{h, w, c, std::vector<std::uint8_t>(static_cast<std::size_t>(h * w * c))},
        mat(static_cast<int>(h), static_cast<int>(w), type_of(c), image.pixels.data()) {}
  /// What was written. OpenCV allocates anew where type or extents are others than it expected.
  Image take() {
    if (mat.data != image.pixels.data()) {
      throw ShapeError("image: OpenCV gave another shape than it was asked for");
    }
    return std::move(image);
  }

  Image image;
  cv::Mat mat;
};

/// Runs a piece of work; OpenCV's own exceptions become ours.
template <class Work>
auto guarded(const char* what, const Work& work) {
  try {
    return work();
  } catch (const cv::Exception& error) {
    throw DeviceError(fmt::format("{}: OpenCV failed: {}", what, error.err));
  }
}

int flag_of(Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::kArea:
      return cv::INTER_AREA;
    case Interpolation::kBilinear:
      return cv::INTER_LINEAR;
    case Interpolation::kBicubic:
      return cv::INTER_CUBIC;
  }
  return cv::INTER_LINEAR;
}

class OpenCvLibrary final : public ImageLibrary {
 public:
  OpenCvLibrary() {
    cv::setNumThreads(1);
    cv::ocl::setUseOpenCL(false);
    // Errors come as exceptions; it need not print them too.
    cv::redirectError([](int, const char*, const char*, const char*, int, void*) { return 0; });
  }

  [[nodiscard]] Image decode(std::span<const std::uint8_t> file, const std::string& name,
                             int channels) const override {
    if (file.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
      throw IoError(fmt::format("{}: {} bytes, at most {} can be decoded", name, file.size(),
                                std::numeric_limits<int>::max()));
    }
    cv::Mat decoded;
    std::string reason = "its pixels cannot be decoded";
    try {
      const cv::Mat bytes(1, static_cast<int>(file.size()), CV_8UC1,
                          const_cast<std::uint8_t*>(file.data()));
      decoded = cv::imdecode(bytes, cv::IMREAD_COLOR);
    } catch (const cv::Exception& error) {
      reason = error.err;
    }
    if (decoded.empty() || decoded.type() != CV_8UC3) {
      throw IoError(fmt::format("{} is damaged: {}", name, reason));
    }
    Target target(decoded.rows, decoded.cols, channels);
    return guarded("decode", [&] {
      cv::cvtColor(decoded, target.mat, channels == 1 ? cv::COLOR_BGR2GRAY : cv::COLOR_BGR2RGB);
      return target.take();
    });
  }

  [[nodiscard]] std::vector<std::uint8_t> encode_png(const Image& image) const override {
    cv::Mat pixels = view(image);
    return guarded("encode", [&] {
      if (image.c == 3) {
        cv::Mat swapped;
        cv::cvtColor(pixels, swapped, cv::COLOR_RGB2BGR);
        pixels = swapped;
      }
      std::vector<std::uint8_t> bytes;
      cv::imencode(".png", pixels, bytes);
      return bytes;
    });
  }

  [[nodiscard]] Image resize(const Image& image, std::int64_t h, std::int64_t w,
                             Interpolation interpolation) const override {
    constexpr std::int64_t kMost = std::int64_t{1} << 20;
    if (h < 1 || w < 1 || h > kMost || w > kMost) {
      throw ShapeError(
          fmt::format("resize: {} x {} pixels were wanted, from 1 to {} can be", h, w, kMost));
    }
    const cv::Mat pixels = view(image);
    Target target(h, w, image.c);
    return guarded("resize", [&] {
      cv::resize(pixels, target.mat, target.mat.size(), 0, 0, flag_of(interpolation));
      return target.take();
    });
  }

  [[nodiscard]] Image with_channels(const Image& image, int channels) const override {
    const cv::Mat pixels = view(image);
    if (channels != 1 && channels != 3) {
      throw ShapeError(
          fmt::format("image: {} channels were wanted, there are 1 (grey) and 3 (RGB)", channels));
    }
    if (channels == image.c) {
      return image;
    }
    Target target(image.h, image.w, channels);
    return guarded("with_channels", [&] {
      cv::cvtColor(pixels, target.mat, channels == 1 ? cv::COLOR_RGB2GRAY : cv::COLOR_GRAY2RGB);
      return target.take();
    });
  }

  [[nodiscard]] std::vector<Rectangle> detect_frontal_faces(const Image& image) const override {
    constexpr double kScale = 1.1;
    constexpr int kNeighbours = 5;
    const cv::Size smallest(30, 30);
    const Image grey = with_channels(image, 1);
    return guarded("detect_frontal_faces", [&] {
      // A classifier is not thread-safe, and reading one takes a while.
      thread_local cv::CascadeClassifier cascade;
      if (cascade.empty() && !cascade.load(kCascade)) {
        throw IoError(fmt::format("{} cannot be read: the cascade for faces, Debian's opencv-data",
                                  kCascade));
      }
      std::vector<cv::Rect> found;
      cascade.detectMultiScale(view(grey), found, kScale, kNeighbours, 0, smallest);
      std::vector<Rectangle> faces;
      faces.reserve(found.size());
      for (const cv::Rect& one : found) {
        faces.push_back({one.x, one.y, one.width, one.height});
      }
      std::sort(faces.begin(), faces.end(), [](const Rectangle& a, const Rectangle& b) {
        return std::tie(a.y, a.x, a.h, a.w) < std::tie(b.y, b.x, b.h, b.w);
      });
      return faces;
    });
  }

  [[nodiscard]] std::string version() const override {
    return fmt::format("OpenCV {}", cv::getVersionString());
  }
};

}  // namespace
}  // namespace gentrain::image

/// What the program looks for: kModuleFunction of core/image/module.h.
extern "C" const gentrain::image::ImageLibrary* gentrain_image_library_3() {
  static const gentrain::image::OpenCvLibrary library;
  return &library;
}

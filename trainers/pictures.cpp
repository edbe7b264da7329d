// Sheets of images, and when a run writes them.
#include "trainers/pictures.h"

#include <algorithm>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "kernels/error.h"
#include "trainers/run_folder.h"
#include "trainers/run_lock.h"
#include "trainers/training.h"

namespace gentrain::trainers {

namespace {

constexpr std::uint64_t kPictureKey = 0x50494354;

}  // namespace

std::vector<image::Image> images_of(std::span<const float> values, const Shape& shape,
                                    float black) {
  const auto pixels = static_cast<std::size_t>(shape.elements());
  if (shape.rank() != 3 || pixels == 0 || values.size() % pixels != 0) {
    throw ShapeError(fmt::format("images of {} from {} values", shape.str(), values.size()));
  }
  std::vector<image::Image> images;
  for (std::size_t at = 0; at < values.size(); at += pixels) {
    image::Image image{shape[0], shape[1], shape[2], std::vector<std::uint8_t>(pixels)};
    std::transform(values.begin() + static_cast<std::ptrdiff_t>(at),
                   values.begin() + static_cast<std::ptrdiff_t>(at + pixels), image.pixels.begin(),
                   [black](float value) { return byte_of(value, black); });
    images.push_back(std::move(image));
  }
  return images;
}

std::vector<image::Image> images_of(Context& context, const Tensor& x, float black) {
  return images_of(copy_to_host<float>(context.device, context.queue, x),
                   {x.shape()[1], x.shape()[2], x.shape()[3]}, black);
}

image::Image sheet(const std::vector<image::Image>& images, std::int64_t columns) {
  constexpr std::int64_t kGap = 2;
  constexpr std::uint8_t kWhite = 255;
  if (images.empty() || columns < 1) {
    throw ShapeError(fmt::format("a sheet of {} images in {} columns", images.size(), columns));
  }
  const image::Image& first = images.front();
  const std::int64_t count = std::ssize(images);
  const std::int64_t across = std::min(columns, count);
  const std::int64_t down = (count + across - 1) / across;
  image::Image all{down * (first.h + kGap) - kGap, across * (first.w + kGap) - kGap, first.c, {}};
  all.pixels.assign(static_cast<std::size_t>(all.h * all.w * all.c), kWhite);
  for (std::int64_t i = 0; i < count; ++i) {
    const image::Image& one = images[static_cast<std::size_t>(i)];
    if (one.h != first.h || one.w != first.w || one.c != first.c) {
      throw ShapeError(fmt::format("a sheet of images of {} x {} x {} and {} x {} x {}", first.h,
                                   first.w, first.c, one.h, one.w, one.c));
    }
    const std::int64_t top = i / across * (one.h + kGap);
    const std::int64_t left = i % across * (one.w + kGap);
    for (std::int64_t y = 0; y < one.h; ++y) {
      std::copy_n(one.pixels.begin() + y * one.w * one.c, one.w * one.c,
                  all.pixels.begin() + ((top + y) * all.w + left) * all.c);
    }
  }
  return all;
}

bool draws_pictures(const TrainingRun& run) {
  return run.objective().draws() &&
         run.options().samples.every.unit != CheckpointOptions::Unit::kNever;
}

PictureWriter::PictureWriter(TrainingRun& run, RunFolder& folder) : run_(run), folder_(folder) {
  image::image_library();
}

void PictureWriter::after_step(const StepReport& report) {
  if (is_due(run_.options().samples.every, report)) {
    write(report.step + 1);
  }
}

void PictureWriter::end(const LoopPosition& position, LoopEnd end) {
  if (end == LoopEnd::kFinished && position.step > 0 && written_ != position.step) {
    write(position.step);
  }
}

void PictureWriter::write(std::int64_t step) {
  const comm::PhaseScope writing(run_.communicator().activity(), comm::Phase::kWriting);
  Context context{run_.device(), run_.runner().queue(), nullptr, false,
                  RngKey(run_.options().seed).fold(kPictureKey)};
  const data::DataPair& data = run_.data();
  try {
    for (const Picture& picture :
         run_.objective().pictures({context, *data.test, data.test_normalization})) {
      folder_.write_picture(fmt::format("{}-{:09}.png", picture.name, step), picture.image);
    }
  } catch (const LostLockError&) {
    throw;
  } catch (const IoError& error) {  // a full disk
    spdlog::warn("the pictures of step {} are not written: {}", step, error.what());
  }
  written_ = step;
}

}  // namespace gentrain::trainers

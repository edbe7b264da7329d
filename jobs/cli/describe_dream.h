// What a job of the kind deepdream says: keys, ranges and documentation, as describe.h has them of
// the rest.
#pragma once

#include "jobs/cli/schema.h"
#include "trainers/dream_options.h"
#include "trainers/models/pretrained.h"

namespace gentrain::jobs {

template <>
inline constexpr auto kChoices<trainers::DreamOptions::Preset> =
    std::to_array<Choice<trainers::DreamOptions::Preset>>(
        {{trainers::DreamOptions::Preset::kDreamy, "dreamy"},
         {trainers::DreamOptions::Preset::kBadTrip, "bad_trip"},
         {trainers::DreamOptions::Preset::kNone, "none"}});
template <>
inline constexpr auto kChoices<trainers::DreamPreprocess> =
    std::to_array<Choice<trainers::DreamPreprocess>>({{trainers::DreamPreprocess::kAuto, "auto"},
                                                      {trainers::DreamPreprocess::kCaffe, "caffe"},
                                                      {trainers::DreamPreprocess::kInception,
                                                       "inception"},
                                                      {trainers::DreamPreprocess::kTorch, "torch"},
                                                      {trainers::DreamPreprocess::kNone, "none"}});
template <>
inline constexpr auto kChoices<trainers::DreamOptimizer::Name> =
    std::to_array<Choice<trainers::DreamOptimizer::Name>>(
        {{trainers::DreamOptimizer::Name::kLbfgs, "lbfgs"},
         {trainers::DreamOptimizer::Name::kGradientAscent, "gradient_ascent"}});

inline constexpr double kMostIterations = 1e5;
inline constexpr double kMostOctaves = 32;
inline constexpr double kMostParts = 64;

/// The network of a dream.
struct DreamModel {
  trainers::DreamOptions& dream;
};
/// The file of its weights.
struct DreamWeightsFile {
  trainers::WeightsOptions& weights;
};
/// Its sizes.
struct DreamOctaves {
  trainers::DreamOptions& dream;
};

template <class V>
void describe(V& v, DreamModel& m) {
  v.one_of("name", m.dream.network, trainers::kPretrainedNames,
           "The network that looks at the image. `model: vgg16` is short for "
           "`model: {name: vgg16}`");
  v.field("file", m.dream.model_file,
          "In its place a whole model out of a file, of Keras or ONNX, with its own weights");
  v.field("preprocess", m.dream.preprocess,
          "What the network takes, the space that the image is changed in. caffe: BGR in 0..255 "
          "minus the means 103.939, 116.779 and 123.68; inception: RGB in -1..1; torch: RGB in "
          "0..1 minus (0.485, 0.456, 0.406), over (0.229, 0.224, 0.225); none: RGB in 0..255; "
          "auto: as the named network was trained; `file` needs another one");
}

template <class V>
void describe(V& v, DreamWeightsFile& w) {
  v.field("file", w.weights.file,
          "A Keras file, read by layer name; random: none. Without it the first file by name that "
          "begins as the model (`vgg16*.h5`): of `$GENTRAIN_DATA/weights`, else of `data/weights`. "
          "`weights: FILE` is short for `weights: {file: FILE}`");
}

template <class V>
void describe(V& v, trainers::DreamOptimizer& o) {
  v.field("name", o.name,
          "What an iteration does. lbfgs: L-BFGS, begun anew; gradient_ascent: steps along the "
          "gradient. `optimizer: lbfgs` is short for `optimizer: {name: lbfgs}`");
  v.field("max_evaluations", o.max_evaluations, between(1, kMostIterations),
          "lbfgs: most evaluations of the loss and its gradient in an iteration");
  v.field("growth", o.growth, Range{.low = 1, .high = 1000, .low_open = true},
          "lbfgs: the first step is as long as one unit of the image's space; it grows by this "
          "factor while the loss falls steeply");
  v.field("steps", o.steps, between(1, kMostIterations), "gradient_ascent: steps of an iteration");
  v.field("lr", o.lr, above(0), "gradient_ascent: factor of the gradient");
  v.field("normalised", o.normalised,
          "gradient_ascent: whether the gradient is divided by its mean absolute value");
}

template <class V>
void describe(V& v, DreamOctaves& o) {
  v.field("count", o.dream.octaves, between(1, kMostOctaves),
          "Sizes that are dreamt one after the other, the smallest first; what was dreamt is "
          "carried over to the next one. All `iterations` are done in each");
  v.field("scale", o.dream.octave_scale, Range{.low = 1, .high = 16, .low_open = true},
          "Each size over the one before");
}

/// The keys of a job of the kind deepdream, beside its kind.
template <class V>
void describe_dream(V& v, Job& j) {
  trainers::DreamOptions& d = j.dream;
  v.field("seed", j.seed, at_least(0), "Root of the jitter, and of weights that are drawn");
  v.field("output", j.output, "Folder of the pictures", "runs/ and the job file's name");
  v.field("device", j.device, "As of a training job");
  v.field("isa", j.isa, "As of a training job");
  v.field("precision", j.precision, "As of a training job: what the network computes in");
  v.field("threads", j.threads, between(0, kMostThreads),
          "Threads of a rank, at most `op_threads` are of use; 0: allowed cores / ranks on the "
          "host");
  v.field("op_threads", j.op_threads, between(1, kMostParts),
          "Fixed parts that the operations of an image are cut into, by rows. The result depends "
          "on it, not on how many threads compute them");
  v.texts_or_one("images", d.images,
                 "Files and folders of images, or one alone. Without any, the first picture of "
                 "`cars_cats_dogs_flowers/validation` in `$GENTRAIN_DATA` or `data`, else a drawn "
                 "face; the log says which");
  v.extent("size", d.height, d.width, "Pixels of the dream; none: those of the image", "none");
  v.field("fit", d.fit,
          "How an image gets this size. stretch: whatever its proportions; crop: the largest part "
          "around the middle with the right ones");
  DreamModel model{d};
  v.group("model", model);
  DreamWeightsFile weights{j.weights};
  v.group("weights", weights);
  v.field("preset", d.preset,
          "What `layers`, `continuity`, `l2` and `jitter` are unless they are given: dreamy or "
          "bad_trip, for VGG16; none: no layers, and 0");
  trainers::take_preset(d);
  v.dream_layers("layers", d.layers,
                 "The layers that are to answer more strongly, each with its coefficient c: "
                 "`{mixed4: 2, mixed5: {coefficient: 1.5, channels: [3, 7]}}`. Its term of the "
                 "loss is -c times the sum of the squares of its map, 2 pixels on each side left "
                 "out, over the map's number of values; with `channels`, of these channels alone");
  v.field("continuity", d.weights.continuity, at_least(0),
          "Factor of the sum of (dx^2 + dy^2)^1.25 over the number of values, dx and dy the "
          "differences of neighbours: keeps the image smooth");
  v.field("l2", d.weights.l2, at_least(0),
          "Factor of the image's mean square, in the network's space");
  v.field("jitter", d.jitter, at_least(0),
          "Uniform noise of up to so much is added to each value before an iteration, and taken "
          "away behind it");
  v.field("iterations", d.iterations, between(1, kMostIterations),
          "Iterations, each with a picture; of every octave");
  v.group("optimizer", d.optimizer);
  DreamOctaves octaves{d};
  v.group("octaves", octaves);
  v.field("zoom", d.zoom, between(1, 4),
          "Between two iterations the image is enlarged by this factor about its middle; not with "
          "several octaves");
}

}  // namespace gentrain::jobs

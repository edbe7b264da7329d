// The descriptions of a job's data: as describe.h.
#pragma once

#include "jobs/cli/describe_augment.h"
#include "jobs/cli/schema.h"

namespace gentrain::jobs {

inline constexpr double kMostFeatureMib = 1e6;

template <>
inline constexpr auto kChoices<trainers::DataOptions::CacheFeatures> =
    std::to_array<Choice<trainers::DataOptions::CacheFeatures>>(
        {{trainers::DataOptions::CacheFeatures::kAuto, "auto"},
         {trainers::DataOptions::CacheFeatures::kOff, "off"}});

template <class V>
void describe(V& v, data::Normalization& n) {
  v.field("mean", n.mean, Range{}, "Subtracted from pixels in 0..1");
  v.field("std", n.stddev, above(0), "Divides what is left");
}

template <class V>
void describe(V& v, trainers::NormalizeOptions& n) {
  v.group("train", n.train,
          "Constants of the training set; none: the data set's own (mnist: mean 0.13066, std "
          "0.30811; folder, faces, lfw: 0.5 and 0.5)");
  v.group("test", n.test,
          "Constants of the test set; none: those of `train` if given, else the data set's own "
          "(mnist: 0.13251, 0.31048)");
}

template <class V>
void describe(V& v, image::FaceOptions& f) {
  v.field("size", f.size, between(1, kMostFacePixels),
          "Rows and columns of a face out of a photograph");
  v.field(
      "margin", f.margin, between(1, kMostMargin),
      "Side of the square that is cut out over that of the face found, so that hair and chin are "
      "in");
  v.field("test_share", f.test_share,
          Range{.low = 0, .high = 1, .low_open = true, .high_open = true},
          "Share of the photographs' names that make the test set; a name stays in its set "
          "whatever else is in the folder");
}

/// What a job of the kind prepare_faces is told of its data.
struct Photographs {
  trainers::DataOptions& data;
};

template <class V>
void describe(V& v, Photographs& p) {
  v.field("folder", p.data.folder,
          "The photographs, as `data.folder` of a training job with `data.source: lfw`");
  v.group("faces", p.data.faces);
}

template <class V>
void describe(V& v, trainers::DataOptions& d) {
  v.field(
      "source", d.source,
      "mnist: idx files; digits: built-in digits, drawn by the program; faces: built-in faces, "
      "drawn too, 96 x 96 pixels in colour; lfw: faces out of photographs, prepared by the first "
      "run and kept in `data.cache`; hdf5: arrays `/x` and "
      "`/y`; folder: image files, or packs of them; auto: mnist if it is found, else digits; "
      "with the model srgan lfw if there are photographs, else faces; the log says which");
  v.field(
      "folder", d.folder,
      "mnist, auto: folder of the idx files (plain or .gz). Without it they are looked for in "
      "`$GENTRAIN_DATA/mnist`, then in `data/mnist`. lfw, auto with srgan: folder of photographs, "
      "without it `$GENTRAIN_DATA/lfw` or `data/lfw`. folder: the training set, required there: "
      "a folder with a folder for each class (their order is that of their names' bytes) of "
      ".jpg, .png, .bmp and .webp files, or with such files alone, which then have no classes; "
      "or a pack, as `gentrain pack` writes it");
  v.field("test_folder", d.test_folder,
          "folder: the test set, as `data.folder`; may be missing if `data.validation` sets a part "
          "aside");
  v.field(
      "path", d.path,
      "folder: in place of `data.folder` and `data.test_folder` a folder that holds them: train "
      "(beside a test set the first whose name begins so), and validation, val or test. Without "
      "the latter, or if it is itself a folder of classes, a fifth is set aside unless "
      "`data.validation` says how much");
  v.classes(
      "classes", d.classes,
      "folder, with `data.path`: classes by patterns over the paths of the images below it, "
      "at any depth, in place of a folder for each: `{roses: \"*/flowers/roses*\", ...}`; `*` "
      "stands for any characters, slashes among them. Images that match none are passed over, "
      "one that matches two is an error; `data.path` is the training set then. none: folders");
  v.extent("size", d.height, d.width,
           "folder: rows and columns that all images are scaled to, by averaging (to shrink) or "
           "bilinearly. none: those of a pack whose images are all of one size",
           "none");
  v.field(
      "fit", d.fit,
      "folder: what is scaled. crop: the largest part around the middle with the proportions of "
      "`data.size`; stretch: the whole image");
  v.field("channels", d.channels, between(1, 3), "folder: 3 (RGB) or 1 (grey)");
  v.field(
      "on_bad_file", d.on_bad_file,
      "folder: what a file means that is damaged or no image. stop: an error, when it is read; "
      "skip: all files are decoded at the start, and the bad ones left out: the log tells their "
      "number, `environment.json` lists them");
  v.field("train_file", d.train_file, "hdf5: the training set; required there");
  v.field("test_file", d.test_file,
          "hdf5: the test set; may be missing if `data.validation` sets a part aside");
  v.field("validation", d.validation, below_one(),
          "Share of the training set that is set aside, chosen by the seed; early stop and best "
          "model then go by it instead of the test set. 0: none");
  v.group("augment", d.augment,
          "Training images of a classifier are turned, shifted, sheared, zoomed and flipped at "
          "random, anew in every epoch, as Keras's ImageDataGenerator does: one affine map about "
          "the image's middle, a function of seed, epoch and image. none: they are not");
  v.field("seed", d.seed, at_least(0), "digits, faces: which are drawn");
  v.field("train_count", d.train_count, between(1, kMostImages),
          "digits, faces: size of the training set");
  v.field("test_count", d.test_count, between(1, kMostImages),
          "digits, faces: size of the test set");
  v.group("faces", d.faces);
  v.field("cache", d.cache,
          "lfw, content.cache, pretrained networks: folder in which prepared faces, maps and "
          "features are kept for later runs; it changes no result. `gentrain cache` lists and "
          "clears it",
          "`$XDG_CACHE_HOME/gentrain`, else `~/.cache/gentrain`");
  v.field("cache_features", d.cache_features,
          "Pretrained networks: whether a stage that freezes the first part of one computes that "
          "part once for each image, over all ranks, and its steps start from the features, kept "
          "in `data.cache`. auto: where nothing random stands before them, so not with "
          "`data.augment`; off: it computes all in each step. Changes no result");
  v.field("cache_features_mib", d.cache_features_mib, between(1, kMostFeatureMib),
          "Pretrained networks: a stage whose features of all images would take more MiB computes "
          "all in each step");
  v.group("normalize", d.normalize);
}

}  // namespace gentrain::jobs

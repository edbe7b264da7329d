// What does not fit together in a job although each value is right by itself: named with its
// position, and with what to do about it.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "jobs/cli/job_reader.h"
#include "trainers/contract.h"
#include "trainers/models/pretrained.h"
#include "trainers/models/vgg.h"

namespace gentrain::jobs {
namespace {

class Checks {
 public:
  Checks(const Job& job, ReadState& state) : job_(job), state_(state) {}

  /// Of the kind feature_regression.
  void run_features() {
    supported();
    if (state_.issues.clean("data") && job_.data.path.empty()) {
      fail("data", "data.path is missing: a folder of images, or a pack of them");
    }
    if (state_.issues.clean("model")) {
      if (job_.model.name.empty()) {
        fail("model", fmt::format("model.name is missing; set it to {}",
                                  fmt::join(trainers::kPretrainedNames, ", ")));
      }
      if (job_.model.pretrained.layer.empty()) {
        fail("model", "model.layer is missing: the layer whose output is an image's features");
      }
    }
    weight_patterns();
    initializer();
  }

  void run() {
    supported();
    batch();
    data();
    model();
    pictures();
    metrics();
    // With stages that could not be read at all there is nothing to check.
    for (const trainers::StageOptions& stage : job_.stages) {
      const std::string prefix = prefix_of(stage);
      stop(stage, prefix);
      optimizer(stage.optimizer, prefix + "optimizer");
      schedule(stage, prefix + "schedule");
    }
  }

 private:
  /// What stands before a stage's keys: nothing where it is written at the top level.
  [[nodiscard]] std::string prefix_of(const trainers::StageOptions& stage) const {
    return state_.positions.contains("stages") ? fmt::format("stages.{}.", stage.name) : "";
  }
  /// The position of a key, or of the nearest one above it that was given.
  [[nodiscard]] Position at(std::string path) const {
    while (true) {
      const auto found = state_.positions.find(path);
      if (found != state_.positions.end()) {
        return found->second;
      }
      const std::size_t dot = path.rfind('.');
      if (dot == std::string::npos) {
        return {job_.file, 0, 0};
      }
      path.resize(dot);
    }
  }
  void fail(const std::string& path, const std::string& message) {
    state_.issues.add(at(path), path, message);
  }
  [[nodiscard]] bool given(const std::string& path) const {
    return state_.positions.contains(path);
  }

  /// What this version has not.
  void supported() {
    using trainers::DeviceChoice;
    if (job_.device == DeviceChoice::kCuda) {
      fail("device", "device is cuda, but this build has no CUDA backend: set it to cpu or auto");
    }
    if (const std::string why = trainers::why_not(job_.precision); !why.empty()) {
      fail("precision", "precision is " + why);
    }
    if (state_.issues.clean("op_threads") && job_.op_threads != 1) {
      fail("op_threads", fmt::format("op_threads is {}, but this version cuts no operation into "
                                     "parts: only 1 is there",
                                     job_.op_threads));
    }
  }

  void batch() {
    const trainers::BatchOptions& b = job_.batch;
    if (state_.issues.clean("batch") && b.global < b.shards) {
      fail("batch.global", fmt::format("batch.global {} is below batch.shards {}, so some shards "
                                       "would always be empty; set batch.shards to at most {}",
                                       b.global, b.shards, b.global));
    }
  }

  void data() {
    using Source = trainers::DataOptions::Source;
    const trainers::DataOptions& d = job_.data;
    if (!state_.issues.clean("data")) {
      return;
    }
    images();
    if (d.source == Source::kHdf5) {
      if (d.train_file.empty()) {
        fail("data.source", "data.source hdf5 needs data.train_file");
      }
      if (d.test_file.empty() && d.validation == 0) {
        fail("data.source", "data.source hdf5 needs data.test_file, or data.validation above 0");
      }
    }
    const bool drawn =
        d.source == Source::kDigits || d.source == Source::kFaces || d.source == Source::kAuto;
    photographs();
    const bool mnist = d.source == Source::kMnist || d.source == Source::kAuto;
    const trainers::DataOptions defaults;
    only_with("data.train_file", !d.train_file.empty(), d.source == Source::kHdf5,
              "data.source hdf5");
    only_with("data.test_file", !d.test_file.empty(), d.source == Source::kHdf5,
              "data.source hdf5");
    only_with("data.folder", !d.folder.empty(),
              mnist || d.source == Source::kLfw || d.source == Source::kFolder,
              "data.source mnist, auto, lfw or folder");
    only_with("data.seed", d.seed != defaults.seed, drawn, "data.source digits, faces or auto");
    only_with("data.train_count", d.train_count != defaults.train_count, drawn,
              "data.source digits, faces or auto");
    only_with("data.test_count", d.test_count != defaults.test_count, drawn,
              "data.source digits, faces or auto");
  }

  /// data.source: lfw.
  void photographs() {
    using Source = trainers::DataOptions::Source;
    const trainers::DataOptions& d = job_.data;
    const bool read =
        d.source == Source::kLfw || (d.source == Source::kAuto && is_srgan(job_.model));
    const image::FaceOptions defaults;
    constexpr std::string_view kNeeds = "data.source lfw, or auto with model.name srgan";
    only_with("data.faces.size", d.faces.size != defaults.size, read, kNeeds);
    only_with("data.faces.margin", d.faces.margin != defaults.margin, read, kNeeds);
    only_with("data.faces.test_share", d.faces.test_share != defaults.test_share, read, kNeeds);
    const bool pretrained = is_pretrained(job_.model);
    only_with("data.cache", !d.cache.empty(), read || job_.content.cache || pretrained,
              fmt::format("{}, or content.cache, or a pretrained network", kNeeds));
    const trainers::DataOptions features;
    only_with("data.cache_features", d.cache_features != features.cache_features, pretrained,
              "a pretrained network");
    only_with("data.cache_features_mib", d.cache_features_mib != features.cache_features_mib,
              pretrained, "a pretrained network");
  }

  /// data.source: folder.
  void images() {
    const trainers::DataOptions& d = job_.data;
    const bool folder = d.source == trainers::DataOptions::Source::kFolder;
    const bool whole = !d.path.empty();
    if (folder && !whole && d.folder.empty()) {
      fail("data.source", "data.source folder needs data.path or data.folder");
    }
    if (whole && (!d.folder.empty() || !d.test_folder.empty())) {
      fail("data.path",
           "data.path stands in place of data.folder and data.test_folder: give either");
    }
    if (folder && !whole && d.test_folder.empty() && d.validation == 0) {
      fail("data.source", "data.source folder needs data.test_folder, or data.validation above 0");
    }
    if (d.channels == 2) {
      fail("data.channels", "data.channels is 2, images have 3 (RGB) or 1 (grey)");
    }
    const trainers::DataOptions defaults;
    constexpr std::string_view kFolder = "data.source folder";
    only_with("data.path", whole, folder, kFolder);
    only_with("data.classes", !d.classes.empty(), folder && whole,
              "data.source folder and data.path");
    only_with("data.test_folder", !d.test_folder.empty(), folder, kFolder);
    only_with("data.size", d.height != defaults.height, folder, kFolder);
    only_with("data.fit", d.fit != defaults.fit, folder, kFolder);
    only_with("data.channels", d.channels != defaults.channels, folder, kFolder);
    only_with("data.on_bad_file", d.on_bad_file != defaults.on_bad_file, folder, kFolder);
  }

  void model() {
    if (!state_.issues.clean("model")) {
      return;
    }
    const bool named = !job_.model.name.empty();
    const bool layered = !job_.model.layers.empty();
    const bool filed = is_imported(job_.model);
    if (!named && !layered && !filed) {
      fail("model", fmt::format("model is missing; set model to {} or {{layers: [...]}}",
                                fmt::join(trainers::kModelNames, ", ")));
    } else if (named && layered) {
      fail("model.layers", "model.name and model.layers exclude each other");
    } else if (filed && (named || layered)) {
      fail("model.file", "model.file stands in place of model.name and model.layers");
    }
    if (state_.issues.clean("init_from")) {
      const bool chosen = job_.init_from.parameters != trainers::InitFromOptions().parameters;
      only_with("init_from.parameters", chosen, !job_.init_from.file.empty(), "init_from.name");
    }
    const bool vae = is_vae(job_.model);
    const trainers::VaeOptions defaults;
    only_with("model.latent", job_.model.vae.latent != defaults.latent, vae,
              "model.name vae or vae_conv");
    only_with("model.hidden", job_.model.vae.hidden != defaults.hidden, vae,
              "model.name vae or vae_conv");
    classification();
    pretrained();
    imported();
    srgan();
    initializer();
  }

  void initializer() {
    if (!state_.issues.clean("init")) {
      return;
    }
    const bool normal = job_.init.name == Initializer::Kind::kNormal;
    if (normal && job_.init.stddev == 0) {
      fail("init", "init normal needs init.stddev above 0");
    }
    only_with("init.stddev", job_.init.stddev != 0, normal, "init.name normal");
  }

  /// Networks that weights exist for.
  void pretrained() {
    const bool chosen = is_pretrained(job_.model);
    const trainers::PretrainedOptions& p = job_.model.pretrained;
    const trainers::PretrainedOptions defaults;
    constexpr std::string_view kNeeds = "model.name inception_v3, vgg16, vgg19 or squeezenet";
    only_with("model.top", p.top != defaults.top, chosen, kNeeds);
    const bool filed = is_imported(job_.model);
    only_with("model.batch_norm", p.batch_statistics, filed || job_.model.name == "inception_v3",
              "model.name inception_v3");
    only_with("model.hidden", chosen && p.hidden != defaults.hidden,
              p.top == trainers::PretrainedOptions::Top::kHead, "model.top head");
    if (chosen && p.top == trainers::PretrainedOptions::Top::kNone) {
      fail("model.top",
           "model.top none gives maps, which tell no classes: set it to head or original");
    }
    const trainers::WeightsOptions& w = job_.weights;
    only_with("weights", !(w == trainers::WeightsOptions()), chosen || filed, kNeeds);
    if ((chosen || filed) && !(w == trainers::WeightsOptions()) && !job_.init_from.file.empty()) {
      fail("weights", "weights and init_from exclude each other: the weights are from one file");
    }
    weight_patterns();
    for (const trainers::StageOptions& stage : job_.stages) {
      only_with(prefix_of(stage) + "freeze.through", !stage.freeze.through.text.empty(),
                chosen || filed, kNeeds);
    }
  }

  /// A network out of a file.
  void imported() {
    const bool filed = is_imported(job_.model);
    const trainers::ImportedOptions& i = job_.model.imported;
    const bool head = i.top == trainers::ImportedOptions::Top::kHead;
    only_with("model.layer", !i.layer.empty(), filed && head, "model.file and model.top head");
    only_with("model.preprocess", i.preprocess != trainers::Preprocessing::kNone, filed,
              "model.file");
    only_with("model.hidden",
              filed && job_.model.pretrained.hidden != trainers::PretrainedOptions().hidden, head,
              "model.top head");
    if (filed && !(job_.weights == trainers::WeightsOptions()) && job_.weights.file != "random") {
      fail("weights", "weights: model.file has its own weights, beside which only random is there");
    }
  }

  void weight_patterns() {
    const trainers::WeightsOptions& w = job_.weights;
    for (const auto& [key, patterns] :
         {std::pair{"allow_missing", &w.allow_missing}, std::pair{"allow_extra", &w.allow_extra},
          std::pair{"reinit", &w.reinit}, std::pair{"reinit_zeros", &w.reinit_zeros}}) {
      only_with(fmt::format("weights.{}", key), !patterns->empty(), w.file != "random",
                "a file in weights.file");
    }
  }

  /// What only a classifier has.
  void classification() {
    const bool other = is_vae(job_.model) || is_srgan(job_.model);
    if (other && job_.data.augment) {
      fail("data.augment",
           fmt::format("data.augment: model {} learns no classes; only a classifier's labelled "
                       "training images are augmented: set it to none",
                       job_.model.name));
    }
    constexpr std::string_view kNeeds = "a classifier as model";
    const trainers::EvaluateOptions defaults;
    only_with("class_weight", job_.class_weight != trainers::ClassWeight::kNone, !other, kNeeds);
    only_with("evaluate.top_k", job_.evaluate.top_k != defaults.top_k, !other, kNeeds);
    only_with("evaluate.report", job_.evaluate.report != defaults.report, !other, kNeeds);
  }

  /// What only a generative model has.
  void pictures() {
    if (!state_.issues.clean("model")) {
      return;
    }
    const bool vae = is_vae(job_.model);
    const bool srgan = is_srgan(job_.model);
    only_with("evaluate.importance_samples", job_.evaluate.importance_samples != 0, vae,
              "model.name vae or vae_conv");
    const trainers::CheckpointOptions::Interval& every = job_.samples.every;
    only_with("samples.every", !(every == trainers::SampleOptions().every), vae || srgan,
              "model.name vae, vae_conv or srgan");
    if (every.unit == trainers::CheckpointOptions::Unit::kSeconds) {
      fail("samples.every",
           "samples.every counts steps or epochs: pictures by the clock would "
           "differ from run to run");
    }
  }

  /// SRGAN's networks, stages and losses.
  void srgan() {
    const bool chosen = is_srgan(job_.model);
    const trainers::SrganOptions& networks = job_.model.srgan;
    const trainers::SrganOptions defaults;
    constexpr std::string_view kNeeds = "model.name srgan";
    only_with("model.variant", networks.variant != defaults.variant, chosen, kNeeds);
    only_with("model.width", networks.width != defaults.width, chosen, kNeeds);
    only_with("model.blocks", networks.blocks != defaults.blocks, chosen, kNeeds);
    only_with("model.blur", networks.blur != defaults.blur, chosen, kNeeds);
    only_with("model.ema", networks.ema != defaults.ema, chosen, kNeeds);
    only_with("content", !(job_.content == trainers::ContentOptions()), chosen, kNeeds);
    only_with("adversarial", !(job_.adversarial == trainers::AdversarialOptions()), chosen, kNeeds);
    for (const trainers::StageOptions& stage : job_.stages) {
      const std::string optimizer = prefix_of(stage) + "optimizer.";
      only_with(optimizer + "generator", stage.generator_optimizer.has_value(), chosen, kNeeds);
      only_with(optimizer + "discriminator", stage.discriminator_optimizer.has_value(), chosen,
                kNeeds);
      if (chosen && stage.name == "mse" && stage.discriminator_optimizer) {
        fail(optimizer + "discriminator",
             fmt::format("{}discriminator has no effect: the stage mse trains the generator alone",
                         optimizer));
      }
      if (chosen && stage.name != "mse" && stage.name != "gan") {
        fail("stages", fmt::format("model srgan has the stages mse and gan, not '{}'", stage.name));
      }
    }
    if (chosen && networks.width % 4 != 0) {
      fail("model.width",
           fmt::format("model.width is {} but must be a multiple of 4", networks.width));
    }
    if (chosen && networks.blur > 0 && networks.blur < trainers::kLeastBlur) {
      fail("model.blur", fmt::format("model.blur is {} but must be 0 or at least {}", networks.blur,
                                     trainers::kLeastBlur));
    }
    if (chosen) {
      content();
    }
  }

  void content() {
    const trainers::ContentOptions& c = job_.content;
    if (!state_.issues.clean("content")) {
      return;
    }
    if (c.network == trainers::ContentOptions::Network::kPixels) {
      for (const char* key : {"weights", "maps", "map_weights", "before_activation", "pixel_weight",
                              "preprocess", "scale", "cache"}) {
        only_with(std::string("content.") + key, true, false, "content.network vgg19 or vgg16");
      }
      return;
    }
    const std::vector<std::string> maps = trainers::content_maps(c);
    if (!c.map_weights.empty() && c.map_weights.size() != maps.size()) {
      fail("content.map_weights", fmt::format("content.map_weights has {} weights for {} maps",
                                              c.map_weights.size(), maps.size()));
    }
    const bool vgg19 = c.network == trainers::ContentOptions::Network::kVgg19;
    const auto known = trainers::VggFeatures::layer_names(vgg19 ? trainers::VggNet::kVgg19
                                                                : trainers::VggNet::kVgg16);
    for (const std::string& map : maps) {
      if (c.before_activation && map.ends_with("_pool")) {
        fail("content.maps",
             fmt::format("content.maps: {} has no ReLU that it could stand before", map));
      }
      if (std::find(known.begin(), known.end(), map) == known.end()) {
        fail("content.maps", fmt::format("content.maps: {} has no layer '{}' (there are {})",
                                         choice_name(c.network), map, fmt::join(known, ", ")));
      }
    }
  }

  void metrics() {
    using trainers::Metric;
    const trainers::EarlyStopOptions& e = job_.early_stop;
    const trainers::EarlyStopOptions defaults;
    const bool on = e.metric != Metric::kNone;
    metric_of_model("early_stop.metric", e.metric);
    metric_of_model("best.metric", job_.best.metric);
    if (state_.issues.clean("early_stop")) {
      constexpr std::string_view kNeeds = "early_stop.metric top1 or loss";
      only_with("early_stop.patience", e.patience != defaults.patience, on, kNeeds);
      only_with("early_stop.min_delta", e.min_delta != defaults.min_delta, on, kNeeds);
      only_with("early_stop.mode", e.mode != defaults.mode, on, kNeeds);
    }
    if (state_.issues.clean("best")) {
      const bool best = job_.best.metric != Metric::kNone;
      only_with("best.mode", job_.best.mode != trainers::MetricMode::kAuto, best,
                "best.metric top1 or loss");
    }
  }

  void stop(const trainers::StageOptions& stage, const std::string& prefix) {
    const std::string path = prefix + "stop";
    if (state_.issues.clean(path) && !stage.stop.epochs && !stage.stop.steps) {
      fail(path, fmt::format("nothing ends the stage '{}'; set {}.epochs or {}.steps", stage.name,
                             path, path));
    }
  }

  void optimizer(const OptimizerOptions& o, const std::string& path) {
    if (!state_.issues.clean(path)) {
      return;
    }
    const bool sgd = o.name == OptimizerOptions::Name::kSgd;
    const OptimizerOptions defaults;
    only_with(path + ".momentum", o.momentum != 0, sgd, "optimizer.name sgd");
    only_with(path + ".nesterov", o.nesterov, sgd && o.momentum > 0, "momentum above 0");
    const bool rmsprop = o.name == OptimizerOptions::Name::kRmsprop;
    const bool adam = !sgd && !rmsprop;
    only_with(path + ".beta1", o.beta1 != defaults.beta1, adam, "optimizer.name adam or adamw");
    only_with(path + ".beta2", o.beta2 != defaults.beta2, adam, "optimizer.name adam or adamw");
    only_with(path + ".epsilon", o.epsilon != defaults.epsilon, !sgd,
              "optimizer.name adam, adamw or rmsprop");
    only_with(path + ".rho", o.rho != defaults.rho, rmsprop, "optimizer.name rmsprop");
  }

  void schedule(const trainers::StageOptions& stage, const std::string& path) {
    using Name = ScheduleOptions::Name;
    const ScheduleOptions& s = stage.schedule;
    if (!state_.issues.clean(path)) {
      return;
    }
    if (s.name == Name::kStep && s.every == 0) {
      fail(path, fmt::format("schedule step needs {}.every of at least 1", path));
    }
    if (s.name == Name::kCosine && s.total == 0) {
      fail(path, fmt::format("schedule cosine needs {}.total of at least 1", path));
    }
    if (s.name == Name::kCosine && s.floor > stage.optimizer.lr) {
      fail(path + ".floor", fmt::format("{}.floor {} is above the learning rate {}", path, s.floor,
                                        stage.optimizer.lr));
    }
    const ScheduleOptions defaults;
    only_with(path + ".decay", s.decay != 0, s.name == Name::kInverseTime,
              "schedule.name inverse_time");
    only_with(path + ".every", s.every != 0, s.name == Name::kStep, "schedule.name step");
    only_with(path + ".factor", s.factor != defaults.factor, s.name == Name::kStep,
              "schedule.name step");
    only_with(path + ".total", s.total != 0, s.name == Name::kCosine, "schedule.name cosine");
    only_with(path + ".floor", s.floor != 0, s.name == Name::kCosine, "schedule.name cosine");
  }

  /// Which metrics the model's evaluation has for it.
  void metric_of_model(const std::string& path, trainers::Metric metric) {
    if (metric != trainers::Metric::kNone && is_srgan(job_.model)) {
      fail(path,
           fmt::format("{} {}: the best pixels are not the best images; with model srgan only "
                       "none is there",
                       path, choice_name(metric)));
    } else if (metric == trainers::Metric::kTop1 && is_vae(job_.model)) {
      fail(path, fmt::format("{} top1: model {} has none, it is no classifier; loss is there", path,
                             job_.model.name));
    }
  }

  /// A value other than the default that nothing would read.
  void only_with(const std::string& path, bool set, bool read, std::string_view needed) {
    if (set && !read && given(path)) {
      fail(path, fmt::format("{} has no effect without {}", path, needed));
    }
  }

  const Job& job_;
  ReadState& state_;
};

}  // namespace

void check_job(const Job& job, ReadState& state) {
  Checks checks(job, state);
  job.kind == JobKind::kFeatureRegression ? checks.run_features() : checks.run();
}

}  // namespace gentrain::jobs

// The descriptions of what a regression on features is told: as describe.h.
#pragma once

#include "jobs/cli/schema.h"
#include "trainers/models/pretrained.h"

namespace gentrain::jobs {

template <>
inline constexpr auto kChoices<trainers::PretrainedOptions::Pool> =
    std::to_array<Choice<trainers::PretrainedOptions::Pool>>(
        {{trainers::PretrainedOptions::Pool::kAverage, "avg"},
         {trainers::PretrainedOptions::Pool::kMax, "max"},
         {trainers::PretrainedOptions::Pool::kNone, "none"}});

struct FeatureData {
  trainers::DataOptions& data;
};

template <class V>
void describe(V& v, FeatureData& f) {
  trainers::DataOptions& d = f.data;
  v.field("path", d.path,
          "The images: a folder with a folder for each class, as `data.folder` of a training job, "
          "or one that holds such a folder named train; a pack; with `data.classes` any folder. "
          "Required");
  v.classes("classes", d.classes,
            "Classes by patterns over the paths of the images below `data.path`, at any depth: "
            "`{roses: \"*/flowers/roses*\", daisies: \"*/flowers/daisy*\"}`; `*` stands for any "
            "characters, slashes among them, `?` for one. Images that match none are passed over, "
            "one that matches two is an error. Their order is that of their names' bytes. none: "
            "folders");
  v.extent("size", d.height, d.width,
           "Rows and columns that all images are scaled to. none: those of a pack whose images are "
           "all of one size",
           "none");
  v.field("fit", d.fit, "As `data.fit` of a training job");
  v.field("on_bad_file", d.on_bad_file, "As `data.on_bad_file` of a training job");
  v.field("cache", d.cache,
          "Folder in which features are kept for later runs; it changes no result. `gentrain "
          "cache` lists and clears it",
          "`$XDG_CACHE_HOME/gentrain`, else `~/.cache/gentrain`");
}

struct FeatureParts {
  trainers::RegressionOptions& regression;
};

template <class V>
void describe(V& v, FeatureParts& p) {
  v.field(
      "train", p.regression.train_share,
      Range{.low = 0, .high = 1, .low_open = true, .high_open = true},
      "Share of each class's images that the regression is fitted to; the others are the test set");
  v.field("seed", p.regression.split_seed, at_least(0),
          "Chooses which images, a function of it and their number alone; none: `seed`");
}

struct FeatureModel {
  trainers::ModelOptions& model;
};

template <class V>
void describe(V& v, FeatureModel& m) {
  v.one_of("name", m.model.name, trainers::kPretrainedNames,
           "The network whose layer gives the features; required");
  v.field("layer", m.model.pretrained.layer,
          "The layer, by Keras's name (mixed8, block5_pool, fire9/concat); those of the original "
          "top are among them (fc2). Required");
  v.field("pool", m.model.pretrained.pool,
          "What of its maps: avg, the mean of each channel; max, the largest value; none, all "
          "numbers, 131,072 of Inception's last one");
}

template <class V>
void describe(V& v, trainers::LogisticOptions& o) {
  v.field("max_iterations", o.max_iterations, between(0, kMostSteps),
          "Spark's maxIter. A run that is finished goes on where it is raised");
  v.field("reg_param", o.reg_param, at_least(0),
          "Spark's regParam: the weight of the penalty beside the mean log loss, of coefficients "
          "of features that are divided by their standard deviations");
  v.field("elastic_net", o.elastic_net, between(0, 1),
          "Spark's elasticNetParam: the share of the sum of absolute values in the penalty; the "
          "rest is half the sum of squares");
  v.field("tolerance", o.tolerance, at_least(0),
          "Spark's tol: the fit ends before when objective or gradient are as good as at rest; for "
          "the optimum itself 0, with many iterations");
  v.field("centre", o.centre,
          "Whether features are centred too, as later versions of Spark 3 do: the optimum is the "
          "same, and much nearer after few iterations");
  v.field("shards", o.shards, between(1, 65536),
          "Slices of the samples, over which sums go: the result depends on it, never on the "
          "number of ranks or threads. At least as many as ranks");
}

struct FeatureLog {
  trainers::LogOptions& log;
};

template <class V>
void describe(V& v, FeatureLog& l) {
  v.field("every", l.log.every, between(1, kMostSteps),
          "Iterations between lines of the log; metrics.jsonl has a line for each");
}

/// The keys of a job of the kind feature_regression, beside its kind.
template <class V>
void describe_features(V& v, Job& j) {
  v.field("seed", j.seed, at_least(0),
          "Root of all randomness: initial weights that no file has, and the split");
  v.field("output", j.output, "Folder of the run's results", "runs/ and the job file's name");
  v.field("device", j.device, "As `device` of a training job");
  v.field("isa", j.isa, "As `isa` of a training job");
  v.field("precision", j.precision,
          "What features are computed in, as `precision` of a training job; the fit is in f64");
  v.field("threads", j.threads, between(0, kMostThreads),
          "Worker threads of a rank, at most its shards; 0: allowed cores / ranks on the host");
  FeatureData data{j.data};
  v.group("data", data);
  FeatureParts parts{j.regression};
  v.group("split", parts);
  FeatureModel model{j.model};
  v.group("model", model);
  v.group("init", j.init);
  v.group("weights", j.weights);
  v.group("regression", j.regression.fit);
  FeatureLog log{j.log};
  v.group("log", log);
  v.group("checkpoint", j.checkpoint);
}

}  // namespace gentrain::jobs

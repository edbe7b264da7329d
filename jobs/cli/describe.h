// The descriptions of the structs of a job: name, range and meaning of every key. See schema.h.
#pragma once

#include "jobs/cli/describe_data.h"
#include "jobs/cli/describe_dream.h"
#include "jobs/cli/describe_features.h"
#include "jobs/cli/describe_model.h"
#include "jobs/cli/schema.h"

namespace gentrain::jobs {

template <class V>
void describe(V& v, trainers::BatchOptions& b) {
  v.field("global", b.global, between(1, kMostImages), "Images of one step, over all ranks");
  v.field(
      "shards", b.shards, between(1, 65536),
      "Slices of the batch, the unit of work and randomness: the result depends on it, never on "
      "the number of ranks or threads. At most `batch.global`; ranks at most shards");
}

template <class V>
void describe(V& v, trainers::StopOptions& s) {
  v.field("epochs", s.epochs, between(0, kMostEpochs),
          "The stage ends after so many visits of the training set. `epochs` or `steps` must be "
          "set; of both the one that comes first counts");
  v.field("steps", s.steps, between(0, kMostSteps),
          "The stage ends after so many steps; 0 skips it");
}

template <class V>
void describe(V& v, OptimizerOptions& o) {
  v.field("name", o.name,
          "The update rule. `optimizer: adam` is short for `optimizer: {name: adam}`");
  v.field("lr", o.lr, at_least(0), "Learning rate before the schedule");
  v.field("momentum", o.momentum, below_one(), "sgd: share of the last velocity that is kept");
  v.field("nesterov", o.nesterov, "sgd: look ahead along the velocity; needs momentum");
  v.field(
      "weight_decay", o.weight_decay, at_least(0),
      "sgd, adam, rmsprop: added to the gradient, times the weight; adamw: apart from the moments");
  v.field("beta1", o.beta1, below_one(), "adam, adamw: decay of the first moment");
  v.field("beta2", o.beta2, below_one(), "adam, adamw: decay of the second moment");
  v.field(
      "epsilon", o.epsilon, above(0),
      "adam, adamw, rmsprop: added to the denominator, outside of the root; Keras's rmsprop has "
      "1e-7");
  v.field("rho", o.rho, below_one(), "rmsprop: decay of the gradients' mean square");
}

template <class V>
void describe(V& v, ScheduleOptions& s) {
  v.field("name", s.name,
          "The learning rate of step t = 0, 1, ... of the stage. constant: lr; inverse_time: "
          "lr / (1 + decay t); step: lr factor^floor(t / every); cosine: from lr down to floor in "
          "total steps");
  v.field("decay", s.decay, at_least(0), "inverse_time: per step");
  v.field("every", s.every, between(0, kMostSteps),
          "step: steps between two drops, at least 1 there");
  v.field("factor", s.factor, above(0), "step: factor of a drop");
  v.field("total", s.total, between(0, kMostSteps),
          "cosine: steps until the floor, at least 1 there");
  v.field("floor", s.floor, at_least(0), "cosine: lowest learning rate, at most lr");
  v.field("warmup", s.warmup, between(0, kMostSteps),
          "Over so many first steps the rate grows linearly from nearly 0; 0: off");
}

/// A stage's update rule, and what replaces it for a network.
struct StageOptimizer {
  OptimizerOptions& all;
  std::optional<OptimizerOptions>& generator;
  std::optional<OptimizerOptions>& discriminator;
};

template <class V>
void describe(V& v, StageOptimizer& o) {
  describe(v, o.all);
  v.group("generator", o.generator,
          "srgan: the generator's own update rule; keys that it leaves out are as above", o.all);
  v.group("discriminator", o.discriminator, "srgan: the same of the discriminator", o.all);
}

template <class V>
void describe(V& v, trainers::FreezeOptions& f) {
  v.pattern("through", f.through,
            "inception_v3, vgg16, vgg19, squeezenet, `model.file`: the name of a block or layer "
            "(mixed8); it and all that it depends on keep their values");
  v.patterns("parameters", f.parameters,
             "Parameters that keep their values: patterns as `trainable`, of which they are taken "
             "away. `freeze: [...]` is short for `freeze: {parameters: [...]}`");
}

template <class V>
void describe(V& v, trainers::StageOptions& s) {
  v.group("stop", s.stop);
  StageOptimizer optimizer{s.optimizer, s.generator_optimizer, s.discriminator_optimizer};
  v.group("optimizer", optimizer);
  v.group("schedule", s.schedule);
  v.field("clip_norm", s.clip_norm, at_least(0),
          "Gradients with a larger norm (over all parameters) are scaled down to it; 0: off");
  v.patterns("trainable", s.trainable,
             "Parameters that are trained: patterns over their names, `*` for any characters, `?` "
             "for one; the others keep their values");
  v.group("freeze", s.freeze);
}

template <class V>
void describe(V& v, trainers::EarlyStopOptions& e) {
  v.field("metric", e.metric,
          "A stage ends when this number of the evaluation no longer improves; none: off");
  v.field("patience", e.patience, between(1, kMostEpochs),
          "Evaluations in a row without improvement");
  v.field("min_delta", e.min_delta, at_least(0), "What counts as improvement: more than this");
  v.field("mode", e.mode, "Which way is better; auto: min for loss, max for top1");
}

template <class V>
void describe(V& v, trainers::BestOptions& b) {
  v.field("metric", b.metric,
          "The trained model has the weights of the evaluation that was best by this number; none: "
          "the last weights");
  v.field("mode", b.mode, "As `early_stop.mode`");
}

template <class V>
void describe(V& v, trainers::EvaluateOptions& e) {
  v.field("every", e.every, between(1, kMostEpochs),
          "Epochs between evaluations; the end of a stage is always one more");
  v.field("batch", e.batch, between(0, kMostImages),
          "Images at a time, over all ranks; 0: as `batch.global`");
  v.field(
      "importance_samples", e.importance_samples, between(0, kMostSamples),
      "vae: at the end of the run log p(x) of the test images is estimated with so many samples "
      "of each one's latent numbers; 0: it is not");
  v.field("top_k", e.top_k, between(1, kMostOutputs),
          "Classifiers: images count for top-k whose class is among so many likeliest ones, or all "
          "if there are fewer; 1: top-1 alone");
  v.field("report", e.report,
          "Classifiers: the run's end writes precision and recall of each class and the confusion "
          "matrix (`evaluation.json`, `confusion.png`), and the images with the largest loss "
          "(`mistakes.png`)");
}

template <class V>
void describe(V& v, trainers::LogOptions& l) {
  v.field("every", l.every, between(1, kMostSteps),
          "Steps between lines of the log and of metrics.jsonl");
}

template <class V>
void describe(V& v, trainers::CheckpointOptions& c) {
  v.interval("every", c.every,
             "When all state is written to `checkpoints/`, to go on from after a crash: every so "
             "many steps (5), epochs (`2 epochs`) or seconds (`30 s`), and at the end; end: only "
             "there; never: not even the trained model is written");
  v.field("keep", c.keep, between(1, 1000),
          "So many of the newest checkpoints stay, and that of the best evaluation");
}

template <class V>
void describe(V& v, trainers::SampleOptions& s) {
  v.interval("every", s.every,
             "vae, vae_conv, srgan: when pictures are written to `samples/`: every so many steps "
             "or epochs, and at "
             "the end; end: only there; never: none");
}

/// The keys of a job of the kind prepare_faces, beside its kind.
template <class V>
void describe_preparation(V& v, Job& j) {
  v.field("output", j.output, "Folder of the packs and of the report",
          "runs/ and the job file's name");
  v.field("threads", j.threads, between(0, kMostThreads),
          "Threads of a rank; 0: allowed cores / ranks on the host");
  Photographs photographs{j.data};
  v.group("data", photographs);
}

template <class V>
void describe(V& v, Job& j) {
  v.field("kind", j.kind,
          "train: a run that trains a model; prepare_faces: makes packs of the faces in "
          "photographs and "
          "has the keys of the section Faces alone; feature_regression: fits a logistic regression "
          "to features of a network and has the keys of the section Features; deepdream: changes "
          "images until layers of a network answer more strongly, and has the keys of the section "
          "Dreams");
  if (j.kind == JobKind::kPrepareFaces) {
    describe_preparation(v, j);
    return;
  }
  if (j.kind == JobKind::kFeatureRegression) {
    describe_features(v, j);
    return;
  }
  if (j.kind == JobKind::kDeepDream) {
    describe_dream(v, j);
    return;
  }
  v.field("seed", j.seed, at_least(0), "Root of all randomness: initial weights, order, dropout");
  v.field("output", j.output, "Folder of the run's results", "runs/ and the job file's name");
  v.field("device", j.device, "auto takes a GPU if there is one; this version knows the CPU alone");
  v.field("isa", j.isa,
          "Instruction set of the CPU kernels, x86-64-v3 or v4; auto: the best that the processor "
          "has. The result depends on it");
  v.field(
      "precision", j.precision,
      "What training computes in. bf16_emulated: tensors of bf16, half the memory, f32 arithmetic, "
      "slower; this version has no bf16 products, and tf32 needs cuda. The result depends on it");
  v.field("threads", j.threads, between(0, kMostThreads),
          "Worker threads of a rank, at most its shards; 0: allowed cores / ranks on the host");
  v.field(
      "op_threads", j.op_threads, between(1, 64),
      "Fixed parts that one operation is cut into, for few large images; this version cuts none, "
      "so 1 alone. The result depends on it");
  v.field(
      "exchange", j.exchange,
      "How gradients are summed. canonical: over a fixed tree, the same bytes for any number of "
      "ranks; library: by MPI's own sum, which gives that up");
  v.group("batch", j.batch);
  v.group("data", j.data);
  v.field("class_weight", j.class_weight,
          "Classifiers: what an image counts in the training loss, whose sum is divided by the "
          "number of images. auto: images / (classes x images of its class), so that every class "
          "counts alike; none: 1");
  v.group("model", j.model);
  v.group("init", j.init);
  v.group("init_from", j.init_from);
  v.group("weights", j.weights);
  v.stages(j.stages);
  v.group("early_stop", j.early_stop);
  v.group("best", j.best);
  v.group("evaluate", j.evaluate);
  v.group("log", j.log);
  v.group("checkpoint", j.checkpoint);
  v.group("samples", j.samples);
  v.group("content", j.content);
  v.group("adversarial", j.adversarial);
}

}  // namespace gentrain::jobs

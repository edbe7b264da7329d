// The descriptions of the structs of a job: name, range and meaning of every key. See schema.h.
#pragma once

#include "jobs/cli/describe_data.h"
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
  v.field("weight_decay", o.weight_decay, at_least(0),
          "sgd, adam: added to the gradient, times the weight; adamw: apart from the moments");
  v.field("beta1", o.beta1, below_one(), "adam, adamw: decay of the first moment");
  v.field("beta2", o.beta2, below_one(), "adam, adamw: decay of the second moment");
  v.field("epsilon", o.epsilon, above(0), "adam, adamw: added to the denominator");
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

template <class V>
void describe(V& v, trainers::StageOptions& s) {
  v.group("stop", s.stop);
  v.group("optimizer", s.optimizer);
  v.group("schedule", s.schedule);
  v.field("clip_norm", s.clip_norm, at_least(0),
          "Gradients with a larger norm (over all parameters) are scaled down to it; 0: off");
  v.patterns("trainable", s.trainable,
             "Parameters that are trained: patterns over their names, `*` for any characters, `?` "
             "for one; the others keep their values");
}

template <class V>
void describe(V& v, trainers::ModelOptions& m) {
  v.one_of(
      "name", m.name, trainers::kModelNames,
      "A built-in model: the classifier lenet, or the variational autoencoder vae. `model: lenet` "
      "is short for `model: {name: lenet}`. `name` or `layers` must be set, not both");
  v.layers("layers", m.layers, "A sequential network, layer by layer; see below");
  v.field("latent", m.vae.latent, between(1, kMostOutputs), "vae: numbers that stand for an image");
  v.field("hidden", m.vae.hidden, between(1, kMostOutputs),
          "vae: outputs of the dense layer on either side");
}

template <class V>
void describe(V& v, trainers::InitOptions& i) {
  v.field(
      "name", i.name,
      "Initial weights. uniform_fan_in: uniform in +-1/sqrt(fan_in), biases too; xavier: "
      "uniform in +-sqrt(6 / (fan_in + fan_out)); kaiming: normal, sqrt(2 / fan_in); normal: "
      "`stddev`; biases 0 with these three. `init: xavier` is short for `init: {name: xavier}`");
  v.field("stddev", i.stddev, at_least(0), "normal: standard deviation, above 0 there");
}

template <class V>
void describe(V& v, trainers::InitFromOptions& i) {
  v.field(
      "name", i.file,
      "A model or checkpoint whose weights are the initial ones. `init_from: FILE` is short for "
      "`init_from: {name: FILE}`");
  v.patterns("parameters", i.parameters,
             "Parameters that are taken from it: patterns over their names, as `trainable`; each "
             "must be there with the same shape. The others are initialised by `init`");
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
void describe(V& v, Job& j) {
  v.field("kind", j.kind, "What kind of job this is");
  v.field("seed", j.seed, at_least(0), "Root of all randomness: initial weights, order, dropout");
  v.field("output", j.output, "Folder of the run's results", "runs/ and the job file's name");
  v.field("device", j.device, "auto takes a GPU if there is one; this version knows the CPU alone");
  v.field("isa", j.isa,
          "Instruction set of the CPU kernels, x86-64-v3 or v4; auto: the best that the processor "
          "has. The result depends on it");
  v.field("precision", j.precision,
          "Type of activations and products; this version has f32 alone, tf32 needs cuda");
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
  v.group("model", j.model);
  v.group("init", j.init);
  v.group("init_from", j.init_from);
  v.stages(j.stages);
  v.group("early_stop", j.early_stop);
  v.group("best", j.best);
  v.group("evaluate", j.evaluate);
  v.group("log", j.log);
  v.group("checkpoint", j.checkpoint);
}

/// The values of a layer of the kind that `l` is of.
template <class V>
void describe(V& v, trainers::LayerSpec& l) {
  using trainers::LayerKind;
  if (l.kind == LayerKind::kConv) {
    v.field("out", l.out, between(1, kMostOutputs), "Output channels");
    v.extent("kernel", l.kernel_h, l.kernel_w, "Extents of the kernel");
    v.extent("stride", l.stride_h, l.stride_w, "Pixels between two positions");
    v.padding("padding", l, "Zeros on both sides; same: as many as make the result h / stride");
    v.field("bias", l.bias, "Whether a bias is added");
  } else if (l.kind == LayerKind::kMaxPool || l.kind == LayerKind::kAveragePool) {
    v.extent("size", l.kernel_h, l.kernel_w, "Extents of the window, at most 255 pixels");
    v.extent("stride", l.stride_h, l.stride_w, "Pixels between two windows", "size");
    v.padding("padding", l,
              "Border that windows may reach over, smaller than they are; it never counts");
  } else if (l.kind == LayerKind::kLinear) {
    v.field("out", l.out, between(1, kMostOutputs), "Outputs");
    v.field("bias", l.bias, "Whether a bias is added");
  } else if (l.kind == LayerKind::kDropout) {
    v.field("rate", l.rate, below_one(), "Share of the values that are zeroed in training");
  }
}

}  // namespace gentrain::jobs

// What tests of dreams share: a small job.
#pragma once

#include "trainers/dream_options.h"

namespace gentrain::trainers {

/// A dream of SqueezeNet's first layers.
inline DreamOptions small_dream() {
  DreamOptions dream;
  dream.preset = dream.taken = DreamOptions::Preset::kNone;
  dream.network = "squeezenet";
  dream.layers = {{"fire2/concat", 1, {}}, {"relu_conv1", 0.5, {0, 5}}};
  dream.weights = {0.1, 0.02};
  dream.jitter = 2;
  dream.iterations = 2;
  dream.optimizer.max_evaluations = 3;
  dream.height = 40;
  dream.width = 36;
  return dream;
}

}  // namespace gentrain::trainers

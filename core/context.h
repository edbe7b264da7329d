// What every op is told about its surroundings: there is no global mode, seed, stream or tape.
#pragma once

#include "core/autograd.h"
#include "kernels/device.h"
#include "kernels/philox.h"

namespace gentrain {

struct Context {
  Device& device;
  Queue& queue;
  Tape* tape = nullptr;    // null: nothing is recorded
  bool training = false;   // dropout drops, batch norm uses the batch
  RngKey key;              // of this step and shard; an op folds in its own index
  double batch_share = 1;  // of the images here in the global batch: the weight of their statistics
  bool bf16 = false;       // networks compute on tensors of bf16
};

}  // namespace gentrain

// What every op is told about its surroundings: there is no global mode, seed, stream or tape.
#pragma once

#include "core/autograd.h"
#include "kernels/device.h"
#include "kernels/philox.h"

namespace gentrain {

struct Context {
  Device& device;
  Queue& queue;
  Tape* tape = nullptr;   // null: nothing is recorded
  bool training = false;  // dropout drops, batch norm uses the batch
  RngKey key;             // of this step and shard; an op folds in its own index
};

}  // namespace gentrain

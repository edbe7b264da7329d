// What every op is told about its surroundings: there is no global mode, seed, stream or tape.
//
// Shards of one worker can stand side by side: every tensor's first axis holds the rows of all of
// them, one shard behind the other, and one recording computes them. All must be as if each were
// alone, to the bit. An op whose rows do not see each other needs to know nothing of it; one that
// sums over rows does so for each shard and then over the tree, one that draws random numbers does
// so with each shard's key, and any other one begins with one_shard_only().
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/autograd.h"
#include "kernels/device.h"
#include "kernels/philox.h"
#include "kernels/shard_rows.h"

namespace gentrain {

/// Several shards side by side, a power of two of them up to kMostShardsSideBySide.
struct SideBySide {
  std::vector<std::int64_t> rows;  // of each; may be 0
  std::vector<RngKey> keys;        // Context::key of each
};

struct Context {
  Device& device;
  Queue& queue;
  Tape* tape = nullptr;    // null: nothing is recorded
  bool training = false;   // dropout drops, batch norm uses the batch
  RngKey key;              // of this step and shard; an op folds in its own index
  double batch_share = 1;  // of the images here in the global batch: the weight of their statistics
  bool bf16 = false;       // networks compute on tensors of bf16
  const SideBySide* shards = nullptr;  // null: one shard. Outlives the tape's recording
};

/// Throws Error naming the op if shards stand side by side.
void one_shard_only(const Context& context, std::string_view op);

}  // namespace gentrain

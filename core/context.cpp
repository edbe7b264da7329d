// Context: the refusal of shards side by side.
#include "core/context.h"

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain {

void one_shard_only(const Context& context, std::string_view op) {
  if (context.shards != nullptr) {
    throw Error(fmt::format("{}: {} shards stand side by side but this op takes one at a time", op,
                            context.shards->rows.size()));
  }
}

}  // namespace gentrain

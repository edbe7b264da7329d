// The check of channels that are a range of others.
#include "kernels/pixel.h"

#include <algorithm>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain {

ChannelRange channel_range(const char* routine, std::int64_t first, const Shape& few,
                           const Shape& many) {
  const int last = few.rank() - 1;
  const bool fits =
      last >= 0 && many.rank() == few.rank() && few.elements() > 0 &&
      std::equal(few.extents().begin(), few.extents().end() - 1, many.extents().begin()) &&
      first >= 0 && few[last] <= many[last] && first <= many[last] - few[last];
  if (!fits) {
    throw ShapeError(fmt::format("{}: {} is no range of {}'s channels from {} on, or it is empty",
                                 routine, few.str(), many.str(), first));
  }
  return {few.elements() / few[last], few[last], many[last]};
}

}  // namespace gentrain

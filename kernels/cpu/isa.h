// Which instruction sets a processor has, and which of them the kernels are to use.
#pragma once

#include <string>
#include <vector>

#include "kernels/device.h"

namespace gentrain::cpu {

/// A processor, with the features of x86-64-v3 and those of v4 alone that it lacks.
struct Processor {
  std::string name;
  std::vector<std::string> missing_v3;
  std::vector<std::string> missing_v4;
};

/// This machine's.
Processor this_processor();

/// kV3 or kV4: the one asked for, or the best. Throws DeviceError naming what is missing.
Isa choose_isa(Isa wanted, const Processor& processor);

}  // namespace gentrain::cpu

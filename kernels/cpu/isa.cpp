// Detection of the processor's instruction sets.
#include "kernels/cpu/isa.h"

#include <fstream>

#include <cpuid.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/error.h"

namespace gentrain::cpu {

namespace {

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "x86-64 processor";
}

struct Feature {
  const char* name;
  bool present;
};

std::vector<std::string> missing(std::initializer_list<Feature> features) {
  std::vector<std::string> result;
  for (const Feature& feature : features) {
    if (!feature.present) {
      result.emplace_back(feature.name);
    }
  }
  return result;
}

}  // namespace

Processor this_processor() {
  // The three that __builtin_cpu_supports of clang 14 does not know.
  unsigned int eax = 0;
  unsigned int ebx = 0;
  unsigned int ecx = 0;
  unsigned int edx = 0;
  const bool basic = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0;
  const bool f16c = basic && (ecx & bit_F16C) != 0;
  const bool movbe = basic && (ecx & bit_MOVBE) != 0;
  const bool lzcnt = __get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_LZCNT) != 0;

  __builtin_cpu_init();
  return {processor_name(),
          missing({{"avx", __builtin_cpu_supports("avx") != 0},
                   {"avx2", __builtin_cpu_supports("avx2") != 0},
                   {"fma", __builtin_cpu_supports("fma") != 0},
                   {"bmi1", __builtin_cpu_supports("bmi") != 0},
                   {"bmi2", __builtin_cpu_supports("bmi2") != 0},
                   {"popcnt", __builtin_cpu_supports("popcnt") != 0},
                   {"f16c", f16c},
                   {"lzcnt", lzcnt},
                   {"movbe", movbe}}),
          missing({{"avx512f", __builtin_cpu_supports("avx512f") != 0},
                   {"avx512bw", __builtin_cpu_supports("avx512bw") != 0},
                   {"avx512cd", __builtin_cpu_supports("avx512cd") != 0},
                   {"avx512dq", __builtin_cpu_supports("avx512dq") != 0},
                   {"avx512vl", __builtin_cpu_supports("avx512vl") != 0}})};
}

Isa choose_isa(Isa wanted, const Processor& processor) {
  if (!processor.missing_v3.empty()) {
    throw DeviceError(
        fmt::format("the processor ({}) lacks {}: x86-64-v3 (AVX2 and FMA) is the least that "
                    "gentrain runs on",
                    processor.name, fmt::join(processor.missing_v3, ", ")));
  }
  if (wanted == Isa::kV4 && !processor.missing_v4.empty()) {
    throw DeviceError(
        fmt::format("isa v4 was asked for, but the processor ({}) lacks {}: use v3 or auto",
                    processor.name, fmt::join(processor.missing_v4, ", ")));
  }
  if (wanted == Isa::kV3 || !processor.missing_v4.empty()) {
    return Isa::kV3;
  }
  return Isa::kV4;
}

}  // namespace gentrain::cpu

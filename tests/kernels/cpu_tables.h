// The tables of vector kernels that this machine can run, for tests that each of them must pass.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/simd.h"

namespace gentrain::simd::v4on3 {
/// The wide table, compiled for x86-64-v3.
const Kernels& kernels();
}  // namespace gentrain::simd::v4on3

namespace gentrain::test {

struct TableCase {
  const char* name;
  const simd::Kernels* table;
};

// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest looks for this name
inline void PrintTo(const TableCase& tables, std::ostream* stream) {
  *stream << tables.name;
}

inline std::vector<TableCase> runnable_tables() {
  std::vector<TableCase> result = {{"v3", &simd::v3::kernels()}};
#ifdef GENTRAIN_TEST_V4ON3
  result.push_back({"v4on3", &simd::v4on3::kernels()});
#endif
  if (cpu::this_processor().missing_v4.empty()) {
    result.push_back({"v4", &simd::v4::kernels()});
  }
  return result;
}

}  // namespace gentrain::test

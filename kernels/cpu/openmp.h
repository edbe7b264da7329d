// What gentrain asks of the OpenMP runtime that oneDNN runs on. Declared here, since clang comes
// without omp.h and with a runtime of its own, while oneDNN brings GCC's.
#pragma once

extern "C" {

/// How many threads the calling thread's parallel regions may take from now on; `threads` is at
/// least 1. OpenMP 5.2, section 18.2.1.
void omp_set_num_threads(int threads);

}  // extern "C"

# The vector kernels once more with 16 lanes on x86-64-v3, so that the logic of the wide tables is
# tested on every machine. Slow, and part of no program but test_kernels; not with sanitizers, which would take
# minutes to compile it.
if(NOT GENTRAIN_SANITIZE)
  add_library(gentrain_simd_v4on3 OBJECT ${simd_sources})
  target_compile_definitions(gentrain_simd_v4on3 PRIVATE GENTRAIN_SIMD_NS=v4on3
                             GENTRAIN_SIMD_LANES=16)
  target_compile_options(gentrain_simd_v4on3 PRIVATE -O2 -march=x86-64-v3 -mtune=generic
                         -fno-math-errno -fno-trapping-math -Wno-psabi -Wno-ignored-attributes)
  target_link_libraries(test_kernels PRIVATE gentrain_simd_v4on3)
  target_compile_definitions(test_kernels PRIVATE GENTRAIN_TEST_V4ON3)
endif()
# cpu_threads_test.cpp tells OpenMP how many threads oneDNN may use.
target_link_libraries(test_kernels PRIVATE ${OPENMP_LIBRARY})

# The device's tests run with the machine's best instruction set. Where that is v4 they run with v3
# once more, in one process.
if(NOT GENTRAIN_SANITIZE)
  add_test(NAME kernels.with_isa_v3
           COMMAND sh -c "grep -qw avx512vl /proc/cpuinfo || exit 77; exec \"$0\" \"$@\""
                   $<TARGET_FILE:test_kernels>
                   --gtest_filter=*Conformance*:*Rules*:PointwiseExtremes*:Cpu*)
  set_tests_properties(kernels.with_isa_v3 PROPERTIES LABELS unit TIMEOUT 300 SKIP_RETURN_CODE 77
                       ENVIRONMENT GENTRAIN_TEST_ISA=v3)
endif()

# The vector kernels once more with 16 lanes on x86-64-v3, so that the logic of the wide tables is
# tested on every machine. Slow, and part of no program but test_kernels.
add_library(gentrain_simd_v4on3 OBJECT ${simd_sources})
target_compile_definitions(gentrain_simd_v4on3 PRIVATE GENTRAIN_SIMD_NS=v4on3
                           GENTRAIN_SIMD_LANES=16)
target_compile_options(gentrain_simd_v4on3 PRIVATE -O2 -march=x86-64-v3 -mtune=generic
                       -fno-math-errno -fno-trapping-math -Wno-psabi -Wno-ignored-attributes)
target_link_libraries(test_kernels PRIVATE gentrain_simd_v4on3)

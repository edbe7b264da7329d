# Checks of the house: the include rule, sizes, documents, scripts, installation. And what a sanitizer
# build needs in every program.
foreach(check includes sizes docs)
  add_test(NAME house.${check}
           COMMAND ${Python3_EXECUTABLE} tests/tools/check_${check}.py
           WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
endforeach()
add_test(NAME house.checks_can_fail
         COMMAND ${Python3_EXECUTABLE} tests/tools/house_test.py
         WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(house.includes house.sizes house.docs house.checks_can_fail
                     PROPERTIES LABELS unit TIMEOUT 120)
if(NOT GENTRAIN_SANITIZE)
  foreach(isa v3 v4)
    add_test(NAME house.simd_symbols_${isa}
             COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/check_simd_symbols.py
                     ${isa} $<TARGET_OBJECTS:gentrain_simd_${isa}>
             COMMAND_EXPAND_LISTS)
    set_tests_properties(house.simd_symbols_${isa} PROPERTIES LABELS unit TIMEOUT 120)
  endforeach()
endif()

# Where shellcheck is not installed ctest lists its test as disabled.
find_program(SHELLCHECK shellcheck)
file(GLOB_RECURSE scripts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/deploy/*.sh
     ${CMAKE_SOURCE_DIR}/deploy/*.sbatch ${CMAKE_SOURCE_DIR}/tests/*.sh)
add_test(NAME house.shellcheck COMMAND ${SHELLCHECK} ${scripts} ${CMAKE_SOURCE_DIR}/.ci/run)
set_tests_properties(house.shellcheck PROPERTIES LABELS unit TIMEOUT 120)
if(NOT SHELLCHECK)
  set_tests_properties(house.shellcheck PROPERTIES DISABLED TRUE)
endif()

add_test(NAME house.install
         COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/tools/install_test.sh ${CMAKE_COMMAND}
                 ${CMAKE_BINARY_DIR})
set_tests_properties(house.install PROPERTIES LABELS unit TIMEOUT 120)

# What sanitizer runs build: the test programs without the benchmarks; those with threads and messages.
get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
set(programs gentrain)
foreach(target ${targets})
  get_target_property(type ${target} TYPE)
  if(type STREQUAL EXECUTABLE)
    list(APPEND programs ${target})
  endif()
endforeach()
set(threaded_programs ${programs})
list(FILTER threaded_programs INCLUDE REGEX "^(test_comm|test_trainers|mpi_.*)$")
add_custom_target(test_programs DEPENDS ${programs})
add_custom_target(threaded_test_programs DEPENDS ${threaded_programs})

if(GENTRAIN_SANITIZE)
  set_source_files_properties(sanitizers/nodlclose.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  foreach(program ${programs})
    target_sources(${program} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/sanitizers/nodlclose.cpp)
  endforeach()
endif()

# Programs of tests/trainers beside test_trainers: allocations of a step (its operator new counts), and
# faults in the middle of a step over MPI, some of which the watchdog has to see.
add_executable(test_host_allocations trainers/host_allocations.cpp)
target_link_libraries(test_host_allocations PRIVATE gentrain_trainers gentrain_reference GTest::gtest
                      GTest::gtest_main)
if(NOT GENTRAIN_SANITIZE)
  add_test(NAME trainers.host_allocations COMMAND test_host_allocations)
  set_tests_properties(trainers.host_allocations PROPERTIES LABELS unit TIMEOUT 60)
endif()

# Frozen weights that the ranks of a host share.
add_executable(mpi_frozen trainers/mpi_frozen.cpp)
target_link_libraries(mpi_frozen PRIVATE gentrain_trainers gentrain_reference GTest::gtest)
foreach(ranks 2 4)
  gentrain_mpi_test(frozen ${ranks} $<TARGET_FILE:mpi_frozen>)
endforeach()

# Logistic regression: the bytes of one rank.
add_executable(mpi_logistic trainers/mpi_logistic.cpp)
target_link_libraries(mpi_logistic PRIVATE gentrain_trainers gentrain_reference GTest::gtest)
foreach(ranks 1 2 3 4)
  gentrain_mpi_test(logistic ${ranks} $<TARGET_FILE:mpi_logistic>)
endforeach()

add_executable(mpi_fault trainers/mpi_fault.cpp)
target_link_libraries(mpi_fault PRIVATE gentrain_trainers)
add_test(NAME mpi.fault
         COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/fault_test.py
                 --program $<TARGET_FILE:mpi_fault> --mpirun ${MPIEXEC_EXECUTABLE})
set_tests_properties(mpi.fault PROPERTIES LABELS mpi TIMEOUT 60)
add_test(NAME mpi.watchdog
         COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/watchdog_test.py
                 --mpi-fault $<TARGET_FILE:mpi_fault> --gentrain $<TARGET_FILE:gentrain>
                 --mpirun ${MPIEXEC_EXECUTABLE})
set_tests_properties(mpi.watchdog PROPERTIES LABELS mpi TIMEOUT 400 PROCESSORS 2)

# System tests of the verbs that run the built program, alone, under mpirun and on a terminal. One CTest
# per class of the Python file.
foreach(class Terminal Check Ranks Pictures)
  add_test(NAME verbs.${class}
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/verbs_test.py ${class})
  set_tests_properties(verbs.${class} PROPERTIES LABELS unit TIMEOUT 120 PROCESSORS 2
    ENVIRONMENT "GENTRAIN=$<TARGET_FILE:gentrain>;MPIRUN=${MPIEXEC_EXECUTABLE}")
endforeach()
set_tests_properties(verbs.Ranks verbs.Pictures PROPERTIES LABELS mpi)

# Fetching, from a server on the loopback interface that misbehaves.
foreach(class Table Transfers Endings Archives Ranks)
  add_test(NAME fetch.${class}
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/fetch_test.py ${class})
  set_tests_properties(fetch.${class} PROPERTIES LABELS unit TIMEOUT 120
    ENVIRONMENT "GENTRAIN=$<TARGET_FILE:gentrain>;MPIRUN=${MPIEXEC_EXECUTABLE}")
endforeach()
set_tests_properties(fetch.Ranks PROPERTIES LABELS mpi PROCESSORS 2)

# A checkpoint as h5py sees it: Debian's python3 has that, another one may not.
add_test(NAME checkpoint.h5py
         COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/tools/checkpoint_h5py_test.py)
set_tests_properties(checkpoint.h5py PROPERTIES LABELS unit TIMEOUT 120 SKIP_RETURN_CODE 77
                     PROCESSORS 2 ENVIRONMENT "GENTRAIN=$<TARGET_FILE:gentrain>")

# What is exported, loaded by those it is for, which come from PyPI: run by name or label alone
# (deploy/check.sh), and skipped without a network.
foreach(class OnnxRuntime Keras TfKeras)
  add_test(NAME interop.${class}
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/interop_test.py
                   ${CMAKE_BINARY_DIR}/interop-venv-${class} ${class})
  set_tests_properties(interop.${class} PROPERTIES LABELS interop TIMEOUT 1800 PROCESSORS 2
                       SKIP_RETURN_CODE 77 ENVIRONMENT "GENTRAIN=$<TARGET_FILE:gentrain>")
endforeach()

# Runs that are stopped, killed and gone on with.
add_test(NAME verbs.Stop
         COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/stop_test.py)
set_tests_properties(verbs.Stop PROPERTIES LABELS mpi TIMEOUT 240 PROCESSORS 2
  ENVIRONMENT "GENTRAIN=$<TARGET_FILE:gentrain>;MPIRUN=${MPIEXEC_EXECUTABLE};STOP_JOB=${CMAKE_SOURCE_DIR}/jobs/lenet_digits.yaml")

# The launcher, with a played mpirun and with the real one.
foreach(class Endings Restarts Requests Hosts Refusals RealRanks)
  add_test(NAME launch.${class}
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/launch_test.py ${class})
  set_tests_properties(launch.${class} PROPERTIES LABELS unit TIMEOUT 120 PROCESSORS 2
    ENVIRONMENT "GENTRAIN=$<TARGET_FILE:gentrain>;MPIRUN=${MPIEXEC_EXECUTABLE}")
endforeach()
set_tests_properties(launch.RealRanks PROPERTIES LABELS mpi TIMEOUT 240)

# Slurm: the batch script with played commands, and on a real Slurm where there is one.
foreach(class Script Submit)
  add_test(NAME batch.${class}
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/batch_test.py ${class})
  set_tests_properties(batch.${class} PROPERTIES LABELS unit TIMEOUT 120
    ENVIRONMENT "GENTRAIN=$<TARGET_FILE:gentrain>")
endforeach()
add_test(NAME slurm
         COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/slurm_test.py)
set_tests_properties(slurm PROPERTIES LABELS slurm TIMEOUT 600 RUN_SERIAL TRUE SKIP_RETURN_CODE 77
                     ENVIRONMENT "GENTRAIN=$<TARGET_FILE:gentrain>")

# The short form of the campaign of faults; the long one is run by hand (docs/faults.md).
if(NOT GENTRAIN_SANITIZE)
  add_test(NAME mpi.faults
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/fault_campaign.py
                   --program $<TARGET_FILE:gentrain> --mpirun ${MPIEXEC_EXECUTABLE}
                   --faults 12 --ranks 4)
  set_tests_properties(mpi.faults PROPERTIES LABELS mpi TIMEOUT 300 PROCESSORS 2)
  # One kill of the other jobs each, gone on with on other ranks and threads.
  foreach(job vae srgan)
    add_test(NAME mpi.faults_${job}
             COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/fault_campaign.py
                     --program $<TARGET_FILE:gentrain> --mpirun ${MPIEXEC_EXECUTABLE}
                     --job ${job} --kinds "kill -9" --elsewhere --faults 1 --seed 14
                     --ranks 4)
    set_tests_properties(mpi.faults_${job} PROPERTIES LABELS mpi TIMEOUT 300 PROCESSORS 2)
  endforeach()
endif()

# System tests that run the built program: bad input of every kind, and the same bytes over ranks and
# threads. One CTest each per class of the Python files.
set(program_environment GENTRAIN=$<TARGET_FILE:gentrain> MPIRUN=${MPIEXEC_EXECUTABLE})

# gentrain_program_tests(FILE LABEL TIMEOUT CLASSES...)
function(gentrain_program_tests file label timeout)
  foreach(class ${ARGN})
    add_test(NAME ${file}.${class}
             COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/${file}_test.py ${class})
    set_tests_properties(${file}.${class} PROPERTIES LABELS ${label} TIMEOUT ${timeout}
                         PROCESSORS 2 ENVIRONMENT "${program_environment}")
  endforeach()
endfunction()

gentrain_program_tests(bad_input mpi 120 JobFiles Data Output Ranks Training ModelFiles)
gentrain_program_tests(bad_images mpi 120 Images ImageFolders Packs ContentWeights)
gentrain_program_tests(regression mpi 300 Regression)
gentrain_program_tests(same_bytes mpi 300 TinyJobs KeptMaps Images Upscaling LargeImage Models Mnist
                       Faces)
gentrain_program_tests(dream mpi 300 Dreams)

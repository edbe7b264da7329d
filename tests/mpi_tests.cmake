# Tests over several ranks, started by mpirun. Names end in .npN; label mpi.
set(mpi_environment OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    OMPI_MCA_mpi_yield_when_idle=1)

# gentrain_mpi_test(NAME RANKS COMMAND...)
function(gentrain_mpi_test name ranks)
  add_test(NAME mpi.${name}.np${ranks}
           COMMAND ${MPIEXEC_EXECUTABLE} -np ${ranks} --oversubscribe --bind-to none ${ARGN})
  set_tests_properties(mpi.${name}.np${ranks} PROPERTIES LABELS mpi TIMEOUT 90 PROCESSORS 2
                       ENVIRONMENT "${mpi_environment}")
endfunction()

foreach(ranks 2 3 5)
  gentrain_mpi_test(communicator ${ranks} $<TARGET_FILE:mpi_communicator>)
  gentrain_mpi_test(exchange ${ranks} $<TARGET_FILE:mpi_exchange>)
endforeach()

# One rank ends the job: exit code 7 within 10 s, whatever the others do.
foreach(case caller thread busy throw)
  foreach(ranks 2 5)
    add_test(NAME mpi.abort_${case}.np${ranks}
             COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/tools/mpi_abort_test.sh ${MPIEXEC_EXECUTABLE}
                     ${ranks} $<TARGET_FILE:mpi_abort> ${case})
    set_tests_properties(mpi.abort_${case}.np${ranks} PROPERTIES LABELS mpi TIMEOUT 30
                         ENVIRONMENT "${mpi_environment}")
  endforeach()
endforeach()

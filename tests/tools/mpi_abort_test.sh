#!/bin/sh
# usage: mpi_abort_test.sh MPIRUN RANKS PROGRAM CASE
# Passes if the job ends with exit code 7 within 10 seconds and no rank got past the abort.
output=$(timeout 10 "$1" -np "$2" --oversubscribe --bind-to none "$3" "$4" 2>&1)
code=$?
printf '%s\nexit code %d\n' "$output" "$code"
case $output in
  *SURVIVED*) exit 1 ;;
esac
[ "$code" -eq 7 ]

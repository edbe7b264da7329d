// The program: everything is in jobs/cli.
#include "jobs/cli/main.h"

int main(int argc, char** argv) {
  return gentrain::jobs::run_main(argc, argv);
}

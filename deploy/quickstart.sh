#!/usr/bin/env bash
# From a fresh Debian 12 machine to a trained network: installs what is needed, builds, trains LeNet on
# all cores, and shows what the network says of eight test digits.
set -euo pipefail

usage() {
  cat <<'END'
usage: deploy/quickstart.sh [--job FILE] [--no-install]
  --job FILE    the job to train, jobs/lenet_mnist.yaml unless given
  --no-install  install nothing: the packages are there already
MNIST is read from $GENTRAIN_DATA/mnist or data/mnist (the four idx files, plain or .gz) where they
are; otherwise the program draws digits of its own. The build goes to ./b, results to ./runs.
END
}

fail() {
  echo "quickstart: $*" >&2
  exit 1
}

job=jobs/lenet_mnist.yaml
install=1
while [ $# -gt 0 ]; do
  case "$1" in
    --job) [ $# -gt 1 ] || fail "--job needs a file"; job=$2; shift ;;
    --no-install) install=0 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail "unknown option '$1'" ;;
  esac
  shift
done

cd "$(dirname "$0")/.."
[ -r "$job" ] || fail "no job file $job (looked in $PWD)"
step() { printf '\n== %s\n' "$*"; }

if [ "$install" = 1 ]; then
  step "Packages"
  deploy/install-deps.sh
  echo "all there"
fi

step "Build (Release, in b/)"
deploy/build.sh -- gentrain

output=$(sed -n 's/^output:[[:space:]]*\([^[:space:]#]*\).*/\1/p' "$job" | tr -d "\"'")
output=${output:-runs/$(basename "$job" .yaml)}

step "Training: b/gentrain $job --overwrite"
b/gentrain "$job" --overwrite

step "Prediction: b/gentrain predict $output/model.h5 -n 8 --draw"
b/gentrain predict "$output/model.h5" -n 8 --draw

cat <<END

== Where everything is
  b/gentrain                     the program; 'cmake --install b' puts it on the PATH
  $job          what was trained; change it and run again
  $output/model.h5        the trained network: gentrain predict, gentrain eval
  $output/metrics.jsonl   loss and accuracy, one line per logged step
  $output/summary.json    result, speed, memory, hash of the weights
  docs/                          how it works, and how to add to it

The same bytes with four ranks: mpirun -np 4 --oversubscribe b/gentrain $job --overwrite
(as root first: export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1)
END

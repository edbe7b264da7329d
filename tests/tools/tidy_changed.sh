#!/usr/bin/env bash
# clang-tidy on the source files that changed since the branch left the main line (on the main line: in
# the last commit), the largest changes first: tidy_changed.sh BUILD_FOLDER MAX_FILES.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$1 limit=$2

if [ ! -f "$build/compile_commands.json" ]; then
  echo "no $build/compile_commands.json: nothing to check against"
  exit 0
fi
base=$(git merge-base HEAD origin/main 2>/dev/null || git merge-base HEAD main 2>/dev/null || true)
if [ -z "$base" ] || [ "$base" = "$(git rev-parse HEAD)" ]; then
  base=$(git rev-parse --quiet --verify HEAD~1 || true)
fi
if [ -z "$base" ]; then
  echo "no earlier commit to compare with"
  exit 0
fi

mapfile -t changed < <(git diff --numstat --diff-filter=d "$base" -- '*.cpp' | sort -rn | cut -f3)
files=()
for file in "${changed[@]}"; do
  if grep -qF "\"$PWD/$file\"" "$build/compile_commands.json"; then
    files+=("$file")
  fi
done
if [ "${#files[@]}" = 0 ]; then
  echo "no source file changed since ${base:0:10}"
  exit 0
fi
chosen=("${files[@]:0:limit}")
printf '%s\n' "${chosen[@]}" |
  xargs -P "$(nproc)" -n 1 clang-tidy-14 -p "$build" --quiet \
    --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-unused-command-line-argument \
    2> >(grep -v 'warnings\? generated' >&2)
echo "clang-tidy: ${#chosen[@]} of ${#files[@]} changed files checked, none with a finding"

#!/usr/bin/env bash
# Builds the module with AddressSanitizer and UndefinedBehaviorSanitizer in build-asan/ and runs the tests with it.
#   tools/sanitize.sh [options of pytest]          e.g. tools/sanitize.sh tests/test_views.py -k overlap
# Any report ends the process that caused it, and this script with a non-zero status. Needs GCC or Clang with their
# sanitizer libraries, and an interpreter that has the package's test dependencies: PYTHON=... (default: .venv's).
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD

python=${PYTHON:-}
if [ -z "$python" ]; then
  if [ -x .venv/bin/python ]; then python=.venv/bin/python; else python=python3; fi
fi
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac
PATH=$(dirname "$(command -v "$python")"):$PATH  # cmake and ninja may live in the same environment

build=$top/build-asan
site=$build/site
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DRUSHLIGHT_SANITIZE=ON -DRUSHLIGHT_INPLACE=OFF \
  -DPython_EXECUTABLE="$("$python" -c 'import sys; print(sys.executable)')" \
  ${CMAKE_CXX_COMPILER_LAUNCHER:+-DCMAKE_CXX_COMPILER_LAUNCHER="$CMAKE_CXX_COMPILER_LAUNCHER"}
cmake --build "$build"

# A copy of the package with the instrumented module; the clone's own folder and the installed package stay out.
rm -rf "$site"
mkdir -p "$site"
cp -r rushlight "$site/"
find "$site" \( -name '*.so' -o -name __pycache__ \) -prune -exec rm -rf {} +
cp "$build"/_C*.so "$site/rushlight/"

compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")
runtime=$("$compiler" -print-file-name=libasan.so)
if ! [ -e "$runtime" ]; then
  runtime=$("$compiler" -print-file-name="libclang_rt.asan-$(uname -m).so")
fi
# GCC's libasan.so may be a linker script or a link: preload what it stands for, and the C++ library before it throws.
preload="$(readlink -f "$runtime") $(readlink -f "$("$compiler" -print-file-name=libstdc++.so)")"

# Leaks are not looked for: the interpreter itself keeps memory until the process ends.
export ASAN_OPTIONS="detect_leaks=0:exitcode=99:allocator_may_return_null=1"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:exitcode=99"
export PYTHONMALLOC=malloc PYTHONPATH="$site" PYTHONDONTWRITEBYTECODE=1 RUSHLIGHT_SANITIZED=1

# The tests run from the folder of that copy, so that the processes they start import it too. Paths among the
# arguments are meant relative to the clone; without one, all tests run.
arguments=() paths=()
for argument in "$@"; do
  if [ -e "$top/${argument%%::*}" ]; then paths+=("$top/$argument"); else arguments+=("$argument"); fi
done
if [ ${#paths[@]} -eq 0 ]; then paths=("$top/tests"); fi
cd "$site"

# Worker processes (-n), so that a report names its test and the others still run; capture=sys, because reports go to
# the standard error below Python and would be lost with the process.
status=0
env LD_PRELOAD="$preload" "$python" -m pytest -c "$top/pyproject.toml" --rootdir "$top" -p no:cacheprovider \
  -n auto --capture=sys ${arguments[@]+"${arguments[@]}"} "${paths[@]}" 2>&1 | tee "$build/output.txt" || status=$?

reports=$(grep -cE 'runtime error:|ERROR: (Address|Undefined|Leak)Sanitizer' "$build/output.txt" || true)
if [ "$reports" -ne 0 ]; then
  echo "sanitizers: $reports reports, see build-asan/output.txt"
  exit 1
fi
echo "sanitizers: no report"
exit "$status"

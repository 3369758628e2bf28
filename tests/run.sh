#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Builds every preset and runs all of their tests as one CTest run, whose summary is the last thing said.
# A build is a test as well (PRESET/build). Build trees are kept below build/, or $TDP_BUILD_ROOT.
set -eu

usage()
{
	cat <<-END
	usage: tests/run.sh [--label LABEL] [--preset PRESET] [--quick | --slow] [--no-install]
	  --label LABEL    only tests with this label (unit, format, model, race, header, ...)
	  --preset PRESET  only this preset, may be repeated (default: all but release)
	  --quick          dev and minimal
	  --slow           release as well, with the slow tests (ten million operations per format)
	  --no-install     do not install missing Debian packages
	TDP_SEED=n repeats the random tests of an earlier run.
	END
	exit "$1"
}

presets='' label='' quick=0 slow=0 install=1
while [ $# -gt 0 ]; do
	case $1 in
	--label) [ $# -ge 2 ] || usage 2; label=$2; shift ;;
	--preset) [ $# -ge 2 ] || usage 2; presets="$presets $2"; shift ;;
	--quick) quick=1 ;;
	--slow) slow=1 ;;
	--no-install) install=0 ;;
	-h | --help) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
	shift
done
if [ -z "$presets" ]; then
	presets='dev minimal'
	[ $quick = 1 ] || presets='dev clang-dev asan tsan minimal
		freestanding-x86_64 freestanding-aarch64 freestanding-riscv64'
	[ $slow = 0 ] || presets="$presets release"
fi
source=$(cd "$(dirname "$0")/.." && pwd)
root=${TDP_BUILD_ROOT:-$source/build}
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
all=$root/all
mkdir -p "$all"

# ---- packages -----------------------------------------------------------------------------------

packages='cmake ninja-build gcc g++ libc6-dev clang libclang-rt-dev pkg-config libjemalloc-dev liburcu-dev
	libcmocka-dev spin valgrind xz-utils jq'
case $presets in *aarch64*) packages="$packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; esac
case $presets in *riscv64*) packages="$packages gcc-riscv64-linux-gnu libc6-dev-riscv64-cross" ;; esac

. "$source/tests/support/packages.sh"
# shellcheck disable=SC2086 # a list of words
[ $install = 0 ] || install_packages "$all/apt.log" $packages

# ---- builds -------------------------------------------------------------------------------------

# build PRESET: leaves the log and status for the test PRESET/build.
build()
{
	status=0 long=OFF
	# Once is enough for what takes long, and the optimized build is the fastest.
	[ "$1" != release ] || [ $slow = 0 ] || long=ON
	{ cmake -S "$source" --preset "$1" -B "$root/$1" "-DTDP_TEST_PREFIX=$1/" \
		"-DTDP_SLOW_TESTS=$long" -Wno-unused-cli &&
		cmake --build "$root/$1" -j "$jobs" -- -k 0; } >"$all/$1.log" 2>&1 || status=$?
	printf '%s\n' '#!/bin/sh' "grep -E -A 12 'FAILED:|CMake Error|error:' '$all/$1.log' | head -n 200" \
		"tail -n 3 '$all/$1.log'" "exit $status" >"$all/$1.build"
}

rm -f "$all/CTestTestfile.cmake" "$all"/*.build
began=$(date +%s)
for preset in $presets; do
	echo "building $preset"
	(cd "$source" && build "$preset")
	{
		printf 'add_test([=[%s/build]=] sh "%s/%s.build")\n' "$preset" "$all" "$preset"
		printf 'set_tests_properties([=[%s/build]=] PROPERTIES LABELS build)\n' "$preset"
		[ ! -f "$root/$preset/CTestTestfile.cmake" ] || printf 'subdirs("%s")\n' "$root/$preset"
	} >>"$all/CTestTestfile.cmake"
done
echo "built in $(($(date +%s) - began)) s"

# ---- tests --------------------------------------------------------------------------------------

set -- --test-dir "$all" -j "$jobs" --output-on-failure --no-label-summary
[ -z "$label" ] || set -- "$@" -L "^($label|build)\$"
{ status=0; ctest "$@" 2>&1 || status=$?; echo "$status" >"$all/status"; } |
	awk -v rest="$all/summary" '/^[0-9]+% tests passed/ { hold = 1 }
		hold { print >rest; next } { print; fflush() }'
status=$(cat "$all/status")

# skips LOG: each test that CTest or cmocka skipped, with the reason it gave.
skips()
{
	awk '/^[0-9]+\/[0-9]+ Testing: / { name = $3; last = why = "" }
	     /^skipped: / { why = ": " substr($0, 10) }
	     /^\[  SKIPPED \] / && $4 != "test(s)," && !/listed below/ && !seen[name, $4]++ {
			print "  " name ", " $4 why; why = "" }
	     /^<end of output>/ { reason[name] = last ~ /^---/ ? "gave no reason" : last }
	     { last = $0 }
	     END { for (n in reason) print "reason " n " " reason[n] }' "$1"
}

if [ -f "$all/summary" ]; then
	skips "$all/Testing/Temporary/LastTest.log" >"$all/skips"
	echo
	echo "Skipped, and why:"
	sed -n 's/^[[:space:]]*[0-9]* - \(.*\) (Skipped)$/\1/p; s/^[[:space:]]*[0-9]* - \(.*\) (Disabled)$/\1/p' \
		"$all/summary" | while read -r name; do
		reason=$(awk -v n="$name" '$1 == "reason" && $2 == n { $1 = $2 = ""; print }' "$all/skips")
		echo "  $name: ${reason#  }"
	done
	grep -v '^reason ' "$all/skips" || :
	echo
	sed -n '/^The following tests FAILED/,$p' "$all/summary" | sed '/^Errors while/d'
	echo
	sed -n '/^[0-9]*% tests passed/p; /^Total Test time/p' "$all/summary"
	rm -f "$all/summary"
else
	echo "CTest ran no test"
	status=1
fi
exit "$status"

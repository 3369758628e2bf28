#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Everything at once for as long as you like: tests/race/mix with time, threads, formats and a sanitizer.
# The time is shared out over the formats and, for some of them, a second case in which memory runs out.
set -eu

usage()
{
	cat <<-END
	usage: tests/stress.sh [--seconds N] [--threads N] [--format F] [--sanitizer asan|tsan]
	  --seconds N      for each format and case (60)
	  --threads N      6 to 64: guests, managers, a migration, one that looks, vCPUs that come and go (8)
	  --format F       only this one (ept4, npt5, s2-40, test, ...), may be repeated
	  --sanitizer S    asan (with UBSan) or tsan; else the optimized build
	TDP_SEED=n repeats the choices of an earlier run, though not its timing.
	END
	exit "$1"
}

number()
{
	case $1 in '' | *[!0-9]* | 0*) echo "not a number: $1" >&2; usage 2 >&2 ;; esac
	echo "$1"
}

seconds=60 threads=8 formats='' preset=release
while [ $# -gt 0 ]; do
	case $1 in
	--seconds | --threads | --format | --sanitizer) [ $# -ge 2 ] || usage 2 >&2 ;;
	esac
	case $1 in
	--seconds) seconds=$(number "$2"); shift ;;
	--threads) threads=$(number "$2"); shift ;;
	--format) formats="$formats $2"; shift ;;
	--sanitizer)
		case $2 in asan | tsan) preset=$2 ;; *) usage 2 >&2 ;; esac
		shift
		;;
	-h | --help) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
	shift
done
[ "$threads" -ge 6 ] && [ "$threads" -le 64 ] || usage 2 >&2

source=$(cd "$(dirname "$0")/.." && pwd)
build=${TDP_BUILD_ROOT:-$source/build}/$preset
log=$build/stress.log
mkdir -p "$build"
echo "building $preset"
# Several at once in one build directory (a format each) build one after the other.
{ flock 9 &&
	cmake -S "$source" --preset "$preset" -B "$build" &&
	cmake --build "$build" -j "$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)" --target test_race_mix
} 9>"$build/stress.lock" >"$log" 2>&1 || { tail -n 20 "$log"; exit 1; }

export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS="suppressions=$source/tests/support/tsan.supp:halt_on_error=1:second_deadlock_stack=1"
export TDP_RACE_MS=$((seconds * 1000)) TDP_RACE_THREADS="$threads"
status=0
if [ -z "$formats" ]; then
	"$build/tests/race/test_race_mix" || status=1
fi
for format in $formats; do
	TDP_FORMAT=$format "$build/tests/race/test_race_mix" || status=1
done
[ $status = 0 ] && echo "nothing found" || echo "something was found"
exit $status

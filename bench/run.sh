#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# All questions of the bench, one process for each: builds what it needs, tells each figure as soon as it has it, and
# leaves JSON and pictures if asked to. What the figures mean is in bench/README.md.
set -eu

usage()
{
	cat <<-END
	usage: bench/run.sh [OPTION...] [PATTERN...]
	  A PATTERN is a question's name, as in a shell, or its beginning; none: all of them.
	  --quick         fewer sizes, at most two minutes; else at most ten
	  --json FILE     all of it, for bench/compare.sh
	  --plot DIR      pictures (SVG), if gnuplot is there
	  --beside WHAT   another engine in the same rounds: FILE.c (see bench/engine.h) or "textbook"
	  --list          the names only
	  --check         tiny guests, every page looked at: no figures, but a test of the bench
	  --no-install    do not install missing Debian packages
	  -f FORMAT -p PAGE -m GIB -r ROUNDS -b SECONDS -t THREADS --cold --hot --no-count
	                  as tdp_bench --help says
	END
	exit "$1"
}

source=$(cd "$(dirname "$0")/.." && pwd)
build=${TDP_BUILD_ROOT:-$source/build}/bench
bench=${TDP_BENCH:-} # built already
json='' plot='' list=0 install=1 options='' beside=''
while [ $# -gt 0 ]; do
	case $1 in
	--json | --plot | --beside | -[fpmrbt]) [ $# -ge 2 ] || usage 2 >&2 ;;
	esac
	case $1 in
	--quick | --check | --cold | --hot | --no-count) options="$options $1" ;;
	-[fpmrbt]) options="$options $1 $(printf %s "$2" | tr -cd '0-9A-Za-z.')"; shift ;;
	--json) json=$2; shift ;;
	--plot) plot=$2; shift ;;
	--beside) beside="$beside $2"; shift ;;
	--list) list=1 ;;
	--no-install) install=0 ;;
	-h | --help) usage 0 ;;
	-*) usage 2 >&2 ;;
	*) break ;;
	esac
	shift
done
began=$(date +%s)
mkdir -p "$build"

# ---- packages and build -------------------------------------------------------------------------

packages='cmake ninja-build gcc libc6-dev pkg-config libjemalloc-dev liburcu-dev jq'
[ -z "$plot" ] || packages="$packages gnuplot-nox"
. "$source/tests/support/packages.sh"
# shellcheck disable=SC2086 # a list of words
[ $install = 0 ] || install_packages "$build/apt.log" $packages >&2

# The release preset, without what is not measured. TDP_WERROR off: a newer compiler may have more warnings.
if [ -z "$bench" ]; then
	bench=$build/bench/tdp_bench
	{ cmake --preset release -S "$source" -B "$build" -DTDP_BUILD_TESTS=OFF -DTDP_BUILD_EXAMPLES=OFF \
		-DTDP_BUILD_SHARED=OFF -DTDP_WERROR=OFF && cmake --build "$build" --target tdp_bench -j2
	} >"$build/build.log" 2>&1 || { cat "$build/build.log" >&2; exit 1; }
fi
[ $list = 0 ] || exec "$bench" --list "$@"

# An engine of somebody else's is compiled as the library is.
for engine in $beside; do
	case $engine in
	*.c)
		shared=$build/$(basename "$engine" .c).so
		"${CC:-cc}" -std=c11 -D_GNU_SOURCE -O3 -DNDEBUG -fPIC -shared -I "$source/bench" -o "$shared" \
			"$engine" -pthread
		engine=$shared ;;
	esac
	options="$options --beside $engine"
done

# ---- questions ----------------------------------------------------------------------------------

rows=$build/rows.json
rm -f "$rows"
names=$("$bench" --list "$@")
[ -n "$names" ] || { echo "no question has such a name" >&2; exit 2; }
status=0 nth=0 head=''
count=$(echo "$names" | wc -l)
for name in $names; do
	nth=$((nth + 1))
	[ ! -t 2 ] || printf '\r\033[K[%d/%d, %d s] %s\r' $nth "$count" $(($(date +%s) - began)) "$name" >&2
	# shellcheck disable=SC2086 # a list of words
	"$bench" $options $head --json "$rows" "$name" || status=1
	head=--no-head
done
[ ! -t 2 ] || printf '\r\033[K' >&2
echo "$count questions in $(($(date +%s) - began)) s"

# ---- JSON, pictures -----------------------------------------------------------------------------

[ -n "$json$plot" ] || exit $status
command -v jq >/dev/null || { echo "no JSON and no pictures without jq" >&2; exit 1; }
machine=$(lscpu -J | jq -c --arg kernel "$(uname -sr)" --arg memory "$(awk '/^MemTotal/ { print $2 * 1024 }' /proc/meminfo)" '
	[.lscpu[] | recurse(.children[]?) | {key: (.field | rtrimstr(":")), value: .data}] | from_entries |
	{cpu: ."Model name", architecture: .Architecture, cpus: (."CPU(s)" | tonumber),
	 l2: ."L2 cache", l3: ."L3 cache", hypervisor: ."Hypervisor vendor",
	 kernel: $kernel, memory_bytes: ($memory | tonumber)}')
jq -s --argjson machine "$machine" --argjson compiler "$("$bench" --about)" \
	--arg commit "$(git -C "$source" describe --always --dirty 2>/dev/null || :)" \
	--argjson seconds $(($(date +%s) - began)) '
	{machine: $machine, compiler: $compiler, commit: $commit, seconds: $seconds,
	 results: map(select(.engine == "libtdp")), others: map(select(.engine != "libtdp"))}' \
	"$rows" >"$build/result.json"
[ -z "$json" ] || cp "$build/result.json" "$json"
[ -z "$plot" ] || sh "$source/bench/plot.sh" "$build/result.json" "$plot" || status=1
exit $status

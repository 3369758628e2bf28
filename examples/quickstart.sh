#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The first command: installs what is missing, builds, and replays a real program's memory accesses
# in a virtual machine for every entry format; see --help.
set -eu

usage() {
	cat <<'EOF'
usage: examples/quickstart.sh [OPTION...]

Builds libtdp in build/quickstart and replays the trace of a real program in a virtual machine, once
for each format of second-stage tables: demand paging, huge pages, a migration with dirty rounds,
aging, moving cold pages, split, recovery of huge pages, zap and fast zap. Ends with a table, a
picture and, when all formats gave the same and right answers, with exit status 0.

  -t, --trace FILE   another trace (examples/record.sh makes one); - is standard input
  -f, --format F     only this format (may be repeated); "--format help" lists them
  -s, --svg FILE     where the picture goes (default: build/quickstart/replay.svg)
  -q, --quick        the first 150000 accesses only
  -n, --limit N      the first N accesses only
  -h, --help
EOF
}

here=$(cd "$(dirname -- "$0")" && pwd)
top=$(dirname -- "$here")
build=$top/build/quickstart
trace=$here/traces/concordance.trace.xz
svg=$build/replay.svg
arguments=''
while [ $# -gt 0 ]; do
	case $1 in
	-h|--help) usage; exit 0 ;;
	-q|--quick) arguments="$arguments --quick"; shift; continue ;;
	--*=*) option=${1%%=*} value=${1#*=}; shift; set -- "$option" "$value" "$@"; continue ;;
	-t|--trace|-f|--format|-s|--svg|-n|--limit)
		[ $# -ge 2 ] || { usage >&2; exit 2; } ;;
	*) usage >&2; exit 2 ;;
	esac
	case $1 in
	-t|--trace) trace=$2 ;;
	-s|--svg) svg=$2 ;;
	# These two are words without blanks, or else refused by the program.
	-f|--format) arguments="$arguments --format $(printf %s "$2" | tr -d '[:space:]')" ;;
	-n|--limit) arguments="$arguments --limit $(printf %s "$2" | tr -d '[:space:]')" ;;
	esac
	shift 2
done

. "$here/packages.sh"
missing=''
want() { # COMMAND PACKAGE
	command -v "$1" >/dev/null || missing="$missing $2"
}
want cmake cmake
want ninja ninja-build
want cc gcc
want pkg-config pkg-config
want xz xz-utils
# No compiler, no headers of its library either.
[ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"
for library in jemalloc:libjemalloc-dev liburcu:liburcu-dev; do
	if ! command -v pkg-config >/dev/null || ! pkg-config --exists "${library%%:*}"; then
		missing="$missing ${library#*:}"
	fi
done
# shellcheck disable=SC2086 # a list of words
[ -z "$missing" ] || install_packages $missing

log=$build.log
mkdir -p "$build"
echo "building in $build ..." >&2
# TDP_WERROR off: a user's newer compiler may have more warnings than ours.
if ! { cmake --preset release -S "$top" -B "$build" -DTDP_BUILD_TESTS=OFF \
		-DTDP_BUILD_BENCH=OFF -DTDP_BUILD_SHARED=OFF -DTDP_WERROR=OFF &&
       cmake --build "$build" --target example_replay example_hello -j2; } >"$log" 2>&1; then
	cat "$log" >&2
	echo "the build failed; its log is $log" >&2
	exit 1
fi

# shellcheck disable=SC2086 # a list of words
exec "$build/examples/replay" $arguments --svg "$svg" "$trace"

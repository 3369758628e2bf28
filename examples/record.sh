#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Records the memory accesses of a program as a trace for quickstart.sh. Nothing large is written:
# the text of valgrind goes through a pipe into the packer, and what that leaves into xz.
set -eu

usage() {
	cat <<'EOF'
usage: examples/record.sh [OPTION...] PROGRAM [ARGUMENT...]

  -o, --output FILE  the trace (default: PROGRAM.trace.xz; a name without .xz is not compressed)
  -n, --limit N      end after N accesses (default 2000000; 0: no limit)
  -s, --skip N       leave out the first N accesses (e.g. the start of the program)
  -b, --burst N      with --every M: only the first N accesses of every M, so that a short
  -e, --every M      trace shows a long run
  -h, --help

Then: examples/quickstart.sh --trace FILE
EOF
}

# A short option or "--long" or "--long=value", then its value.
output='' limit=2000000 skip=0 burst=0 every=0
while [ $# -gt 0 ]; do
	case $1 in
	-h|--help) usage; exit 0 ;;
	--*=*) option=${1%%=*} value=${1#*=}; shift; set -- "$option" "$value" "$@"; continue ;;
	-o|--output|-n|--limit|-s|--skip|-b|--burst|-e|--every)
		[ $# -ge 2 ] || { usage >&2; exit 2; } ;;
	--) shift; break ;;
	-*) usage >&2; exit 2 ;;
	*) break ;;
	esac
	case $1 in
	-o|--output) output=$2 ;;
	-n|--limit) limit=$2 ;;
	-s|--skip) skip=$2 ;;
	-b|--burst) burst=$2 ;;
	-e|--every) every=$2 ;;
	esac
	shift 2
done
[ $# -gt 0 ] || { usage >&2; exit 2; }
[ -n "$output" ] || output=$(basename -- "$1").trace.xz

here=$(cd "$(dirname -- "$0")" && pwd)
. "$here/packages.sh"
need valgrind valgrind
case $output in *.xz) need xz xz-utils ;; esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
pack=${TDP_LACKEY_PACK:-$scratch/lackey_pack}
if [ ! -x "$pack" ]; then
	need cc gcc
	cc -O2 -D_GNU_SOURCE -o "$pack" "$here/lackey_pack/lackey_pack.c"
fi

# The packer may end first, at the limit; valgrind then gets SIGPIPE, which is as it should be.
mkfifo "$scratch/text"
# A shell gives /dev/null to what it starts in the background; the program shall have our input.
exec 8<&0
valgrind --tool=lackey --trace-mem=yes --log-fd=9 "$@" <&8 9>"$scratch/text" &
program=$!
set -- -n "$limit" -s "$skip" -c "$*"
if [ "$burst" != 0 ] || [ "$every" != 0 ]; then
	set -- "$@" -b "$burst" -e "$every"
fi
status=0
"$pack" "$@" <"$scratch/text" >"$scratch/trace" || status=$?
kill "$program" 2>/dev/null || :
wait "$program" 2>/dev/null || :
[ "$status" = 0 ] || { echo "record.sh: nothing recorded" >&2; exit 1; }
case $output in
*.xz) xz -9e -c "$scratch/trace" >"$output" ;;
*) cp "$scratch/trace" "$output" ;;
esac
echo "$output: $(wc -c <"$output") bytes" >&2

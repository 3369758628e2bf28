#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Replays the recorded trace for every format (all of it without sanitizers, else its beginning) and
# has damaged traces and wrong options refused.
set -eu
[ "${TDP_HAVE_POSIX:-0}" = 1 ] && [ "${TDP_HAVE_EMU:-0}" = 1 ] ||
	{ echo "needs tdp::posix and tdp::emu"; exit 77; }
command -v xz >/dev/null || { echo "no xz"; exit 77; }
replay=$TDP_BINARY_DIR/examples/replay
trace=$TDP_SOURCE_DIR/examples/traces/concordance.trace.xz
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
	echo "replay.sh: $*" >&2
	exit 1
}
# exits STATUS COMMAND...
exits() {
	want=$1
	shift
	got=0
	"$@" >"$scratch/out" 2>"$scratch/err" || got=$?
	[ "$got" = "$want" ] || { cat "$scratch/err" >&2; fail "exit $got, not $want: $*"; }
}

quick=''
[ -z "${TDP_SANITIZERS:-}" ] || quick=--quick
# shellcheck disable=SC2086
"$replay" $quick --svg "$scratch/out.svg" "$trace" || fail "the replay failed"
grep -q '^</svg>$' "$scratch/out.svg" || fail "no picture"
[ "$(grep -c '<rect' "$scratch/out.svg")" -gt 500 ] || fail "an empty picture"

# The same through a pipe and with another number of epochs.
xz -dc "$trace" | "$replay" --limit 30000 --epochs 8 --format npt5 >"$scratch/out" ||
	fail "the replay from standard input failed"
grep -q '30000 accesses' "$scratch/out" || fail "the limit was not kept"

# Four accesses to two pages, by hand: fetch 0x1000, store 0x2ff8, load 0x2ff8, modify 0x2ff8.
header='TDPTRACE 1\ncommand: four\nunknown: key\n\n'
# shellcheck disable=SC2059
printf "$header"'\200\200\002\302\377\005\301\377\005\303\377\005' >"$scratch/four"
exits 0 "$replay" --epochs 4 --format ept4 "$scratch/four"
grep -q '4 accesses (1 fetches, 1 loads, 1 stores, 1 both) to 2 pages' "$scratch/out" ||
	{ cat "$scratch/out" >&2; fail "the four accesses were misread"; }

head -c -1 "$scratch/four" >"$scratch/bad"
exits 3 "$replay" "$scratch/bad"
grep -q 'cut off' "$scratch/err" || { cat "$scratch/err" >&2; fail "wrong reason"; }
printf 'TDPTRACE 2\n\n\200\200\002' >"$scratch/bad"
exits 3 "$replay" "$scratch/bad"
printf 'TDPTRACE 1\ncommand: none\n\n' >"$scratch/bad"
exits 3 "$replay" "$scratch/bad"
# 2^47, and a number longer than 64 bits.
printf 'TDPTRACE 1\n\n\200\200\200\200\200\200\200\002' >"$scratch/bad"
exits 3 "$replay" "$scratch/bad"
printf 'TDPTRACE 1\n\n\200\200\200\200\200\200\200\200\200\200\200\001' >"$scratch/bad"
exits 3 "$replay" "$scratch/bad"
exits 3 "$replay" "$scratch/absent"
exits 3 "$replay" "$scratch/absent.xz"
exits 2 "$replay" --format none "$trace"
exits 2 "$replay" --epochs 6 "$trace"
exits 2 "$replay" --limit 1x "$trace"
exits 2 "$replay" "$trace" "$trace"
exits 0 "$replay" --help
exits 0 "$replay" --format help

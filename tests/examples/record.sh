#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# A recording of a program can be replayed, the program keeps its input and output, limits are kept.
set -eu
[ "${TDP_HAVE_POSIX:-0}" = 1 ] && [ "${TDP_HAVE_EMU:-0}" = 1 ] ||
	{ echo "needs tdp::posix and tdp::emu"; exit 77; }
for tool in valgrind xz sort; do
	command -v "$tool" >/dev/null || { echo "no $tool"; exit 77; }
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export TDP_LACKEY_PACK="$TDP_BINARY_DIR/examples/lackey_pack"
record=$TDP_SOURCE_DIR/examples/record.sh

printf 'c\nb\na\n' | "$record" --limit=0 --output="$scratch/all.xz" sort >"$scratch/sorted"
[ "$(tr -d '\n' <"$scratch/sorted")" = abc ] || { echo "the program's output is lost"; exit 1; }
"$record" -n 5000 -s 1000 -b 10 -e 20 -o "$scratch/some.xz" sort /dev/null

for name in all some; do
	"$TDP_BINARY_DIR/examples/replay" --epochs 8 --format arm64 --limit 40000 \
		"$scratch/$name.xz" >"$scratch/$name"
	grep -q '^Trace: sort' "$scratch/$name" || { echo "no command in $name"; exit 1; }
done
grep -q '  5000 accesses' "$scratch/some" || { echo "the limit was not kept"; exit 1; }

# What lackey says, by hand: a run of fetches from a line is one, a load across a page is two.
{ printf '==1== Lackey\nI  00001000,3\nI  00001003,5\nI  00001040,2\n'
  printf ' L 00002ffc,8\n S 00003000,8\n M 00003010,4\nnot an access\n'; } |
	"$TDP_LACKEY_PACK" -c 'by hand' >"$scratch/hand"
"$TDP_BINARY_DIR/examples/replay" --epochs 4 --format npt4 "$scratch/hand" >"$scratch/out"
grep -q '6 accesses (2 fetches, 2 loads, 1 stores, 1 both) to 3 pages' "$scratch/out" ||
	{ cat "$scratch/out"; exit 1; }

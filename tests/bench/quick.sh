#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The bench cannot rot: every question is asked for tiny guests, and every page is looked at after each round; each is
# asked with nothing done, and must notice; what bench/run.sh writes is complete; bench/compare.sh sees what changed; an
# engine beside libtdp is one file of plain C. No time is judged.
set -eu
bench=$TDP_BINARY_DIR/bench/tdp_bench
grep -q "^TDP_BUILD_BENCH:BOOL=ON" "$TDP_BINARY_DIR/CMakeCache.txt" || { echo "this build has no benchmarks"; exit 77; }
command -v jq >/dev/null || { echo "jq is not installed"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# fails WHAT COMMAND...: the command fails, and says WHAT.
fails()
{
	what=$1
	shift
	if "$@" >"$scratch/out" 2>&1 || ! grep -q "$what" "$scratch/out"; then
		echo "does not fail with '$what': $*"
		tail -n 3 "$scratch/out"
		failed=1
	fi
}

# holds FILE WHAT JQ: the expression is true.
holds()
{
	jq -e "$3" "$1" >/dev/null || { echo "$2 does not hold in $1"; failed=1; }
}

# ---- all questions, as bench/run.sh asks them ----

all=$scratch/all.json
TDP_BENCH=$bench TDP_BUILD_ROOT=$scratch sh "$TDP_SOURCE_DIR/bench/run.sh" --no-install --check --no-count \
	--beside textbook --json "$all" >"$scratch/table" 2>&1 || { tail -n 20 "$scratch/table"; exit 1; }
for name in fault_seq fault_rand populate zap_range zap_page teardown fast_zap age_all age_none age_sparse age_page \
	age_bitmap age_idle test_age wrprot dirty_arm harvest clear_range clear_mask split collapse lookup_seq \
	lookup_rand role_switch memory yield_check latency_under_zap scale2_fault_seq scale2_zap_range scale2_age_all \
	scale2_wrprot scale2_harvest scale2_lookup_seq scale2_split scale2_collapse helped_zap_range \
	helped_populate helped_age_all helped_wrprot helped_harvest helped_split helped_collapse; do
	holds "$all" "$name for every format" \
		"[.results[] | select(.name == \"$name\") | .format] | unique == [\"ept\", \"npt\", \"s2\"]"
	grep -q "^$name " "$scratch/table" || { echo "$name is not in the table"; failed=1; }
done
holds "$all" 'machine and compiler' '.machine.cpus > 0 and (.compiler | length > 0)'
holds "$all" 'a figure for every page size' '[.results[] | .page] | unique == ["1G", "2M", "4K"]'
holds "$all" 'every figure is more than 0' '[.results[], .others[]] | length > 200 and
	all(.ns > 0 and .floor_ns > 0 and .ratio > 0 and .rounds > 0 and .guest_bytes > 0 and .threads > 0 and
	    .spread >= 0 and .tables >= 0 and .flushes >= 0 and has("locked_per_entry"))'
holds "$all" 'intervals hold their figures' '[.results[], .others[]] |
	all(.ns_low <= .ns and .ns <= .ns_high and .ratio_low <= .ratio and .ratio <= .ratio_high)'
holds "$all" 'both ways of two threads' '[.results[] | select(.threads == 2 and .name == "scale2_zap_page") |
	.variant] | unique == ["disjoint", "in turn"]'
holds "$all" 'the engine beside libtdp' '[.others[] | .engine] | unique == ["textbook"]'

# ---- nothing done ----

"$bench" --check --idle --beside textbook >"$scratch/idle" 2>&1 || { tail -n 3 "$scratch/idle"; failed=1; }
grep -q '^[1-9][0-9]* asked with nothing done' "$scratch/idle" || { echo "nothing was asked idly"; failed=1; }

# ---- what changed ----

sh "$TDP_SOURCE_DIR/bench/compare.sh" "$all" "$all" >"$scratch/out" || { echo "slower than itself"; failed=1; }
grep -q '^0 faster, 0 slower, [1-9][0-9]* as before; all together 1.000$' "$scratch/out" || {
	tail -n 1 "$scratch/out"; failed=1; }
slow='(.results[], .others[]) |= (.ratio = 10000 * .ratio_high | .ratio_low = .ratio | .ratio_high = .ratio)'
jq "$slow" "$all" >"$scratch/slow.json"
fails '^0 faster, [1-9][0-9]* slower, 0 as before' sh "$TDP_SOURCE_DIR/bench/compare.sh" "$all" "$scratch/slow.json"
sh "$TDP_SOURCE_DIR/bench/compare.sh" "$scratch/slow.json" "$all" >"$scratch/out" || failed=1
grep -q '^[1-9][0-9]* faster, 0 slower, 0 as before' "$scratch/out" || { tail -n 1 "$scratch/out"; failed=1; }

# ---- somebody's own engine ----

# engine NAME SED: textbook.c as a file of its own, changed.
engine()
{
	sed "s/textbook_engine/bench_engine/; $2" "$TDP_SOURCE_DIR/bench/textbook.c" >"$scratch/$1.c"
	# shellcheck disable=SC2086 # a list of words
	$CC ${CFLAGS:-} -std=c11 -D_GNU_SOURCE -fPIC -shared -I "$TDP_SOURCE_DIR/bench" -o "$scratch/$1.so" \
		"$scratch/$1.c" -pthread
}

ask='--check --no-count --format ept --page 4K'
engine own 's/"textbook"/"own"/'
# shellcheck disable=SC2086
"$bench" $ask --beside "$scratch/own.so" --json "$scratch/own.json" >"$scratch/out" 2>&1 || {
	tail -n 3 "$scratch/out"; failed=1; }
[ "$(jq -s '[.[] | select(.engine == "own") | .name] | unique | length' "$scratch/own.json")" -ge 10 ] || {
	echo "few questions were asked of an own engine"; failed=1; }
# Engines that do not do what they say are refused.
engine forgets 's/e = c->clear == ~(uint64_t)0 ? atomic_exchange(&table\[i\], 0)/e = c->clear == ~(uint64_t)0 ? e/'
# shellcheck disable=SC2086
fails 'what was to be done is not done' "$bench" $ask --beside "$scratch/forgets.so" zap_page
engine young 's/w->done = change_range(w->vm, w->gpa, w->bytes, ACCESSED/w->done = change_range(w->vm, w->gpa, w->bytes, 0/'
# shellcheck disable=SC2086
fails 'what was to be done is not done' "$bench" $ask --beside "$scratch/young.so" age_all

# ---- counted instructions: the textbook takes one locked instruction for each entry, and two for its lock ----

if [ -z "$TDP_SANITIZERS" ] && [ "$(uname -m)" = x86_64 ]; then
	"$bench" --check --format ept --page 4K --beside textbook --json "$scratch/count.json" age_all >/dev/null
	locked='[.[] | select(.engine == "textbook") | .locked_per_entry]'
	[ "$(jq -s "$locked | length == 2 and all(. >= 1 and . < 1.02)" "$scratch/count.json")" = true ] || {
		echo "locked instructions are miscounted: $(jq -s -c "$locked" "$scratch/count.json")"; failed=1; }
fi
exit $failed

#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Do the models of the table protocol hold, and does each broken rule make one fail?
#
#   tests/protocol/check.sh [MODEL...]      from any directory; without names all of them
#
# protocol.h lists models and mutations. A model holds if its whole state space was searched without an error, an
# invalid end state, a limit that was hit, or a statement that nothing reaches (but on lines that say
# "unreached:" and why). A mutation is refuted if every model it is listed with violates an assertion; in the end
#   N models hold, M mutations refuted, K survived
# Exit status 0 only if all hold and none survived; 77: no spin here.
# CC: compiler. LIMIT: seconds for one search (600). KEEP=DIR: work there and leave models, trails and outputs.
set -u

here=$(cd "$(dirname "$0")" && pwd)
cc=${CC:-cc}
# As a test it runs in one build of several: the models are the same in all.
case ${TDP_SANITIZERS:-}${CC:-} in
*address* | *undefined* | *thread* | *clang*) echo "the models are the same in every build"; exit 77 ;;
esac
[ "${TDP_HAVE_POSIX:-1}" = 1 ] || { echo "the models are the same in every build"; exit 77; }
command -v spin >/dev/null || { echo "needs spin (Debian: spin)"; exit 77; }
command -v "$cc" >/dev/null || { echo "needs a C compiler"; exit 77; }
if [ -n "${KEEP:-}" ]; then
	mkdir -p "$KEEP"
	work=$(cd "$KEEP" && pwd)
else
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
fi
hold=0 fail=0 refuted=0 survived=0

# The table: NAME, then models, then (after two blanks or more) what is left out.
sed -n 's/^ \* \([A-Z][A-Z_]*\)  *\([a-z].*\)$/\1 \2/p' "$here/protocol.h" >"$work/table"
sed -n 's/^ \*   \([a-z_][a-z_]*\)  .*/\1/p' "$here/protocol.h" >"$work/models"

# mutations MODEL: the names listed with it.
mutations()
{
	awk -v model="$1" '{
		name = $1
		sub(/^[^ ]* /, "")
		sub(/  +.*/, "")
		n = split($0, models, " ")
		for (i = 1; i <= n; i++)
			if (models[i] == model)
				print name
	}' "$work/table"
}

# search MODEL MUTATION-OR-NOTHING OPTIMIZE: leaves pan's words in $dir/out; false: there was no search.
search()
{
	dir=$work/$1${2:+.$2}
	rm -rf "$dir"
	mkdir -p "$dir"
	cp "$here/protocol.h" "$here/$1.pml" "$dir"
	(cd "$dir" &&
		spin -a ${2:+"-D$2"} "$1.pml" >spin.log 2>&1 &&
		"$cc" -O"$3" -w -DSAFETY -DCOLLAPSE -DMEMLIM=4000 -o pan pan.c >cc.log 2>&1 &&
		{ timeout "${LIMIT:-600}" ./pan -m10000 -w24 >out 2>&1 || :; }) && [ -s "$dir/out" ]
}

# Every statement that nothing reached and that does not say why.
unreached()
{
	sed -n 's/^.*\.pml:\([0-9]*\), state [0-9]*, \(.*\)$/\1 \2/p' "$dir/out" | sort -u |
		while read -r line what; do
			sed -n "${line}p" "$dir/$1.pml" | grep -q 'unreached: ' ||
				echo "$1.pml:$line: nothing reaches $what"
		done
}

# What is wrong with a search that should have found nothing; no words: nothing.
complaint()
{
	sed -n 's/^pan:[0-9]*: \(.*\)/\1/p' "$dir/out" | head -n 1
	grep -E -i 'too small|not completed|out of memory|MEMLIM|truncated' "$dir/out" | head -n 1
	grep -q 'errors: 0$' "$dir/out" || echo "the search did not end"
	grep -q '^Full statespace search' "$dir/out" || echo "not all was searched"
	grep -q 'assertion violations.*+' "$dir/out" || echo "no assertions"
	grep -q 'invalid end states.*+' "$dir/out" || echo "no end states"
	unreached "$1"
}

holds()
{
	if ! search "$1" "" 2; then
		echo "$1: FAILED: does not build"
		cat "$dir"/*.log
		return 1
	fi
	complaint "$1" >"$work/complaint"
	if [ -s "$work/complaint" ]; then
		sed "s/^/$1: FAILED: /" "$work/complaint"
		return 1
	fi
	awk -v name="$1" '/states, stored/ { states = $1 }
		/depth reached/ { sub(/.*depth reached /, ""); sub(/,.*/, ""); depth = $0 }
		/^pan: elapsed time/ { seconds = $4 }
		END { printf "%-12s holds: %d states, depth %d, %.1f s\n", name, states, depth, seconds }' "$dir/out"
}

refute()
{
	if search "$1" "$2" 1; then
		what=$(sed -n 's/^pan:[0-9]*: assertion violated *\(.*\) (at depth.*/\1/p' "$dir/out" | head -n 1)
	else
		what=''
	fi
	if [ -n "$what" ]; then
		printf '  %-12s without %-20s refuted: %s\n' "$1" "$2" "$what"
		echo "$2" >>"$work/refuted"
	else
		printf '  %-12s without %-20s SURVIVED\n' "$1" "$2"
		echo "$2" >>"$work/survived"
	fi
}

# Is what the table lists in the models, and the other way round?
listed()
{
	for model in $(cat "$work/models"); do
		{
			mutations "$model"
			# Rules of protocol.h itself are each used by some of the models.
			sed -n 's/^#if.*def \([A-Z_]*\).*/\1/p' "$here/protocol.h"
		} | sort -u >"$work/known"
		sed -n 's/^#if.*def \([A-Z_]*\).*/\1/p' "$here/$model.pml" | sort -u >"$work/used"
		comm -13 "$work/known" "$work/used" | sed "s/^/$model.pml: not in the table: /"
	done
	ls "$here"/*.pml | sed 's/.*\///; s/\.pml$//' | sort >"$work/files"
	sort "$work/models" | comm -3 - "$work/files" | sed 's/^[[:space:]]*/no such model, or not in the table: /'
}

: >"$work/refuted"
: >"$work/survived"
listed >"$work/complaint"
if [ -s "$work/complaint" ]; then
	cat "$work/complaint"
	exit 1
fi
[ $# -gt 0 ] || set -- $(cat "$work/models")
for model in "$@"; do
	if [ ! -f "$here/$model.pml" ]; then
		echo "no such model: $model"
		exit 2
	fi
	if holds "$model"; then
		hold=$((hold + 1))
	else
		# What fails anyway refutes nothing.
		fail=$((fail + 1))
		continue
	fi
	for mutation in $(mutations "$model"); do
		refute "$model" "$mutation"
	done
done
survived=$(sort -u "$work/survived" | wc -l)
refuted=$(sort -u "$work/refuted" | grep -c -v -x -F -f "$work/survived" || :)
[ $fail -eq 0 ] || echo "$fail models FAILED"
echo "$hold models hold, $((refuted)) mutations refuted, $((survived)) survived"
[ $fail -eq 0 ] && [ "$survived" -eq 0 ]

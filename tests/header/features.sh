#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# tests/FEATURES.md says which test shows what. Here: that each of them exists and runs with the others.
#
# A test is named as ENTRY or ENTRY:FUNCTION, where ENTRY is a CTest entry of this build and FUNCTION is
# defined in tests/ENTRY.c (or a header that it includes from its folder) and handed to cmocka there. So it
# runs whenever the entry runs; test_run() fails for a case that no format wants.
set -eu
. "$TDP_SOURCE_DIR/tests/support/rule.sh"

if [ "$TDP_HAVE_POSIX" != 1 ] || [ "$TDP_HAVE_EMU" != 1 ]; then
	echo "this build has no test programs"
	exit 77
fi

# The names without what tests/run.sh puts before them.
(cd "$TDP_BINARY_DIR" && "${CTEST:-ctest}" -N) | sed -n 's,^ *Test *#[0-9]*: *,,p' |
	sed 's,.*/\([^/]*/[^/]*\)$,\1,' >"$scratch/entries"
[ -s "$scratch/entries" ] || { echo "ctest -N lists nothing"; exit 1; }

# sources ENTRY: the file of the entry and what it includes from its folder, without comments.
sources()
{
	dir=$TDP_SOURCE_DIR/tests/$(dirname "$1")
	file=$TDP_SOURCE_DIR/tests/$1.c
	[ -f "$file" ] || return 0
	set -- "$file"
	for header in $(sed -n 's/^#include "\([a-z0-9_]*\.h\)"$/\1/p' "$file"); do
		[ ! -f "$dir/$header" ] || set -- "$@" "$dir/$header"
	done
	code "$@"
}

# row ID STATE TESTS LINE: what is wrong with one row.
row()
{
	case $2 in
	works | part) [ -n "$3" ] || echo "$4: $1 is '$2' and names no test" ;;
	'not yet') ;;
	*) echo "$4: $1 has the unknown state '$2'" ;;
	esac
	entry=
	for test in $(echo "$3" | tr ',' ' '); do
		function=${test#*:}
		[ "$function" != "$test" ] || function=
		[ -z "${test%%:*}" ] || entry=${test%%:*}
		grep -qxF "$entry" "$scratch/entries" || echo "$4: $1 names $entry, which is no CTest entry"
		[ -n "$function" ] || continue
		source=$scratch/source.${entry%%/*}.${entry#*/}
		[ -f "$source" ] || sources "$entry" >"$source"
		grep -qE ": static void $function\\(void \\*\\*state\\)" "$source" &&
			grep -qE "[A-Z_a-z]+\\($function[,)]" "$source" ||
			echo "$4: $1 names $entry:$function, which no file defines and hands to cmocka"
	done
}

# rule FILE: each row is "| ID | guarantee | state | tests |"; IDs are unique, sections need no order.
rule()
{
	grep -nE '^\| [A-Z]+[0-9]+[a-z]? ' "$1" | sed 's/^\([0-9]*\):| /\1 | /; s/`//g' |
		awk -F ' *[|] *' '
		NF != 6 { print "line " $1 ": has " NF - 2 " cells, not 4" > "/dev/stderr"; next }
		seen[$2]++ { print "line " $1 ": " $2 " has a row already" > "/dev/stderr" }
		{ print $1 "|" $2 "|" $4 "|" $5 }' 2>"$scratch/shape" >"$scratch/rows"
	cat "$scratch/shape"
	while IFS='|' read -r line id state tests; do
		row "$id" "$state" "$tests" "line $line"
	done <"$scratch/rows"
	[ -s "$scratch/rows" ] || echo "no rows at all"
}

# refuses WHAT ROW…: a file with these rows is refused, with these words.
refuses()
{
	what=$1
	shift
	printf '%s\n' "$@" >"$scratch/broken.md"
	rule "$scratch/broken.md" >"$scratch/found"
	grep -qF "$what" "$scratch/found" || { echo "not refused ($what): $*"; failed=1; }
}

rule "$TDP_SOURCE_DIR/tests/FEATURES.md" >"$scratch/found"
if [ -s "$scratch/found" ]; then
	echo "tests/FEATURES.md:"
	cat "$scratch/found"
	failed=1
fi
good='unit/support:rcu_waits_for_readers, :rcu_defers_in_order'
printf '%s\n' "| A1 | text | works | $good |" >"$scratch/good.md"
rule "$scratch/good.md" | grep . && failed=1
refuses 'no CTest entry' '| A1 | text | works | unit/nothing:here |'
refuses 'no file defines' '| A1 | text | works | unit/support:no_such_function |'
refuses 'no file defines' '| A1 | text | works | unit/support:node_free |'
refuses 'names no test' '| A1 | text | works |  |'
refuses 'unknown state' "| A1 | text | done | $good |"
refuses 'cells, not 4' '| A1 | text | works |'
refuses 'has a row already' "| A1 | text | works | $good |" "| A1 | text | works | $good |"
refuses 'no rows at all' 'nothing'
done_with_rule

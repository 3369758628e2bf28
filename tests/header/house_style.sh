#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# What a reader can count on in any file: a licence line, a length one can read, no long lines.
set -eu
. "$TDP_SOURCE_DIR/tests/support/rule.sh"

rule()
{
	(cd "$1" && find include lib backends examples bench -name '*.[ch]' | sort | xargs awk '
	function last() { if (lines > 600) print file ": has " lines " lines, more than 600" }
	FNR == 1 {
		last()
		file = FILENAME
		if (!/SPDX-License-Identifier: BSD-2-Clause/) print file ": has no SPDX line"
	}
	{
		lines = FNR
		columns = 0
		n = length($0)
		for (i = 1; i <= n; i++)
			columns += substr($0, i, 1) == "\t" ? 8 - columns % 8 : 1
		if (columns > 120) print file ": line " FNR " has " columns " columns"
	}
	/[ \t]$/ { print file ": line " FNR " ends in white space" }
	END { last() }')
}

holds
long=$(printf '%0121d' 0)
catches lib/mm/mm.h "/* $long */"
catches lib/mm/new.h "int a;"
catches lib/mm/mm.h "int a; "
catches lib/mm/mm.h "$(seq 1 600)"
done_with_rule

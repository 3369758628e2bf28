#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Includes point downhill: base <- fmt <- engine, mm knows no format, backends and examples know only
# include/tdp and their own files, the core knows only freestanding headers.
set -eu
. "$TDP_SOURCE_DIR/tests/support/rule.sh"

rule()
{
	(cd "$1" && find include lib backends examples bench -name '*.[ch]' | sort | awk '
	function allowed(file)
	{
		if (file ~ /^include\//) return free "|<tdp/point\\.h>"
		if (file ~ /^lib\/base\//) return free "|\"base/[a-z_0-9]+\\.h\"|<tdp/point\\.h>"
		if (file ~ /^lib\/fmt\/inst_[a-z_0-9]+\.c$/)
			return free "|\"(base|fmt)/[a-z_0-9]+\\.h\"|\"engine/instance\\.h\""
		if (file ~ /^lib\/fmt\//) return free "|\"(base|fmt)/[a-z_0-9]+\\.h\""
		if (file ~ /^lib\/engine\//)
			return free "|\"(base|engine|mm)/[a-z_0-9]+\\.h\"|\"fmt/contract\\.h\""
		# The contract names no format; engine.h is the table of operations.
		if (file ~ /^lib\//)
			return free "|\"(base|mm)/[a-z_0-9]+\\.h\"|\"(engine/engine|fmt/contract)\\.h\""
		return "<[a-zA-Z_0-9/.-]+\\.h>|\"[a-z_0-9]+\\.h\""
	}
	BEGIN {
		free = "<(stdbool|stddef|stdint)\\.h>|<tdp/(base|env|backend|tdp|walk|decode|gate|job|share)\\.h>"
	}
	{ files[NR] = $0; there[$0] = 1 }
	END {
		for (i = 1; i <= NR; i++) {
			file = files[i]
			ok = "^(" allowed(file) ")$"
			dir = file
			sub(/\/[^\/]*$/, "/", dir)
			while ((getline line < file) > 0) {
				if (line !~ /^[ \t]*#[ \t]*include[ \t]*[<"]/) continue
				match(line, /[<"][^>"]*[>"]/)
				name = substr(line, RSTART, RLENGTH)
				if (name !~ ok) print file ": includes " name
				# A bare name is a neighbour; else -Ilib could find it in the core.
				if (name ~ /^"[^\/]*"$/ && !(dir substr(name, 2, length(name) - 2) in there))
					print file ": includes foreign " name
			}
			close(file)
		}
	}')
}

holds
catches lib/base/bits.h '#include "mm/mm.h"'
catches lib/base/bits.h '#include <stdlib.h>'
catches lib/fmt/ept.h '#include "engine/engine.h"'
catches lib/fmt/inst_ept.c '#include "mm/mm.h"'
catches lib/engine/engine.h '#include "fmt/ept.h"'
catches lib/mm/mm.h '#include "fmt/ept.h"'
catches lib/mm/mm.h '#include "engine/map.h"'
catches lib/mm/mm.h '#include <tdp/posix.h>'
catches lib/mm/mm.h '#include <tdp/point.h>'
catches lib/api.c '  #  include "fmt/npt.h"'
catches backends/emu/emu.c '#include "fmt/ept.h"'
catches backends/emu/emu.c '#include "../../lib/base/bits.h"'
catches backends/host/env.c '#include "mm.h"'
catches examples/hello.c '#include "base/bits.h"'
catches bench/one.c '#include "mm/mm.h"'
catches include/tdp/base.h '#include <string.h>'
done_with_rule

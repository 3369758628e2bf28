# SPDX-License-Identifier: BSD-2-Clause
# A rule over the sources, and the proof that it can fail. Sourced by tests/header/*.sh, which define
#   rule ROOT         print each violation in the tree at ROOT as FILE: TEXT, nothing if there is none
# and then call holds and, for each way to break it, catches.

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# holds: the rule is kept by the tree under test.
holds()
{
	rule "$TDP_SOURCE_DIR" >"$scratch/found"
	if [ -s "$scratch/found" ]; then
		echo "violated:"
		cat "$scratch/found"
		failed=1
	fi
}

# catches FILE TEXT: a copy in which the line TEXT is added to FILE (made if missing) is refused, and
# for that file.
catches()
{
	rm -rf "$scratch/copy"
	mkdir -p "$scratch/copy"
	(cd "$TDP_SOURCE_DIR" && cp -r include lib backends examples bench "$scratch/copy")
	mkdir -p "$scratch/copy/$(dirname "$1")"
	printf '%s\n' "$2" >>"$scratch/copy/$1"
	rule "$scratch/copy" >"$scratch/found"
	if ! grep -qF "$1:" "$scratch/found"; then
		echo "the rule does not see '$2' in $1"
		failed=1
	fi
}

done_with_rule()
{
	exit $failed
}

# code FILE...: their lines as "FILE: TEXT", without comments and with "" for each string.
code()
{
	awk '
	FNR == 1 { inside = 0 }
	{
		line = $0
		out = ""
		while (line != "") {
			if (inside) {
				end = index(line, "*/")
				line = end ? substr(line, end + 2) : ""
				inside = !end
			} else if (match(line, /\/\*|\/\/|"([^"\\]|\\.)*"/)) {
				token = substr(line, RSTART, 2)
				out = out substr(line, 1, RSTART - 1)
				line = substr(line, RSTART + RLENGTH)
				if (token == "/*")
					inside = 1
				else if (token == "//")
					line = ""
				else
					out = out "\"\""
			} else {
				out = out line
				line = ""
			}
		}
		print FILENAME ": " out
	}' "$@"
}

#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Paging logic is tested on a laptop: the unit tests and injected failures need no privilege, no device that
# needs one (/dev/kvm), nothing of the environment, and together less than two minutes of one processor, be it slow.
set -eu
[ -z "${TDP_SANITIZERS:-}" ] || { echo "a sanitizer takes longer"; exit 77; }
[ "$TDP_FREESTANDING" = 0 ] && [ "$TDP_HAVE_POSIX" = 1 ] && [ "$TDP_HAVE_EMU" = 1 ] ||
	{ echo "this build has no test programs"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# nobody COMMAND: without the rights of root and without an environment.
nobody()
{
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs env -i "$@"
	else
		env -i "$@"
	fi
}

# A copy, because the build may lie where nobody else may look.
cp "$TDP_BINARY_DIR"/tests/unit/test_unit_* "$TDP_BINARY_DIR"/tests/fail/test_fail_* "$scratch"
chmod 755 "$scratch" "$scratch"/*
[ "$(find "$scratch" -type f | wc -l)" -gt 30 ] || { echo "few tests were found"; exit 1; }
cd "$scratch"
for program in ./test_*; do
	nobody "$program" >"$scratch/out" 2>&1 || [ $? = 77 ] || { tail -n 20 "$scratch/out"; exit 1; }
done
# The second line: what the children used, as 0m31.25s 0m2.40s.
times >"$scratch/times"
awk 'NR == 2 {
	split($0, part, /[ms ]+/)
	spent = part[1] * 60 + part[2] + part[3] * 60 + part[4]
	printf "%.1f s of processor time\n", spent
	exit spent > 1 && spent <= 120 ? 0 : 1 }' "$scratch/times"

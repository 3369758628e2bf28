#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# What has changed between two runs of bench/run.sh: two commits on one machine, or one commit on two machines.
set -eu

usage()
{
	cat <<-END
	usage: bench/compare.sh [--ns] [--changed] A.json B.json
	  Told is B / A of each figure's ratio to its floor, so that what the machine does to both cancels out.
	  --ns       of the nanoseconds themselves instead
	  --changed  only what is faster or slower
	  The brackets hold the true quotient in at least 9 of 10 cases; "faster" and "slower" are said only when 1 is
	  not between them. Status 1: something is slower.
	END
	exit "$1"
}

what=ratio only=0
while [ $# -gt 0 ]; do
	case $1 in
	--ns) what=ns ;;
	--changed) only=1 ;;
	-h | --help) usage 0 ;;
	-*) usage 2 >&2 ;;
	*) break ;;
	esac
	shift
done
[ $# = 2 ] || usage 2 >&2
command -v jq >/dev/null || { echo "compare.sh needs jq" >&2; exit 2; }
jq -r '"A: \(.commit), \(.compiler), \(.machine.cpu)"' "$1"
jq -r '"B: \(.commit), \(.compiler), \(.machine.cpu)"' "$2"
jq -r -n --arg what "$what" --slurpfile a "$1" --slurpfile b "$2" '
	def key: [.engine, .name, .variant, .format, .page, .guest_bytes, .cache, .threads] | tojson;
	def all: [.[0].results[], .[0].others[]];
	def size: if . >= 1073741824 then "\(. / 1073741824)G" else "\(. / 1048576)M" end;
	def of(name): .[$what + name];
	($a | all | map({(key): .}) | add // {}) as $before |
	($b | all)[] | . as $new | $before[key] as $old |
	[.name, if .engine == "libtdp" then .variant else .engine end,
	 "\(.format) \(.page) \(.guest_bytes | size)\(if .cache == "cold" then " cold" else "" end)"] +
	if $old == null then ["new", ($new | of("")), 0, 0, 0]
	else [($old | of("")), ($new | of("")), ($new | of("")) / ($old | of("")),
	      ($new | of("_low")) / ($old | of("_high")), ($new | of("_high")) / ($old | of("_low"))] end |
	map(tostring | gsub("[\t\n]"; " ")) | join("\t")' |
	awk -F '\t' -v what="$what" -v only="$only" '
	BEGIN {
		printf "%-22s %-12s %-16s %10s %10s %8s\n", "question", "", "", "A " what, "B " what, "B / A"
	}
	$4 == "new" { new++; next }
	{
		verdict = $8 < 1 ? "faster" : $7 > 1 ? "slower" : ""
		count[verdict]++
		n++
		sum += log($6)
		if (!only || verdict)
			printf "%-22s %-12s %-16s %10.4g %10.4g %8.3f [%.3f, %.3f] %s\n", $1, $2, $3, $4, $5, $6, $7, $8, verdict
	}
	END {
		if (!n) { print "nothing is in both"; exit 2 }
		printf "%d faster, %d slower, %d as before", count["faster"], count["slower"], count[""]
		printf "; all together %.3f\n", exp(sum / n)
		if (new) printf "%d are only in B\n", new
		exit count["slower"] > 0
	}'

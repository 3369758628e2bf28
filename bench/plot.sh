#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# bench/plot.sh FILE.json DIR: how operations grow with the guest, and how far each is from its floor.
set -eu
[ $# = 2 ] || { echo "usage: bench/plot.sh FILE.json DIR" >&2; exit 2; }
command -v gnuplot >/dev/null || { echo "no gnuplot here, so no pictures (Debian: gnuplot-nox)"; exit 0; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$2"

# growth PAGE FILE: one picture, a line for each question with three sizes or more, and for its floor.
growth()
{
	jq -r --arg page "$1" '
		[.results[] | select(.page == $page and .cache == "hot" and .format == "ept") |
		 select("\(.name), \(.variant)" | IN("zap_range, A and D set", "age_all, D set", "age_idle, ", "age_idle, above",
			"harvest, all dirty", "dirty_arm, ", "dirty_arm, lazy", "fast_zap, "))] |
		group_by([.name, .variant])[] | unique_by(.guest_bytes) | select(length > 2) |
		"\"\(.[0].name)\(if .[0].variant == "" then "" else ", \(.[0].variant)" end)\"",
		(.[] | (if .unit == "ns/call" then 1 else .entries end) as $n |
			"\(.guest_bytes / 1073741824) \(.ns * $n / 1000) \(.floor_ns * $n / 1000)"), "", ""' \
		"$json" >"$scratch/growth"
	[ -s "$scratch/growth" ] || return 0
	lines=$(grep -c '^"' "$scratch/growth")
	gnuplot <<-END
	set terminal svg size 1100,600 noenhanced background rgb 'white'
	set output '$2'
	set title 'One call over the whole guest, pages of $1 (EPT); dashed: the floor'
	set xlabel 'guest memory, GiB'
	set ylabel 'us'
	set logscale xy
	set key outside right top
	set grid
	plot for [i=0:$lines - 1] '$scratch/growth' index i using 1:2 with linespoints lt i+1 \\
		title columnheader(1), \\
	     for [i=0:$lines - 1] '$scratch/growth' index i using 1:3 with lines lt i+1 dt 2 notitle
	END
	echo "$2"
}

# ratios PAGE FILE: one picture, a bar for each question at the smallest guest, per format.
ratios()
{
	some=".page == \"$1\" and .cache == \"hot\" and .threads == 1 and .unit == \"ns/entry\""
	formats=$(jq -r "[.results[] | select($some) | .format] | unique[]" "$json")
	[ -n "$formats" ] || return 0
	jq -r --arg formats "$formats" "[.results[] | select($some)]"' |
		group_by([.name, .variant])[] | sort_by(.guest_bytes) | . as $all |
		[($formats | split("\n"))[] as $f | [$all[] | select(.format == $f)][0].ratio // "?"] as $r |
		"\"\($all[0].name)\(if $all[0].variant == "" then "" else ", \($all[0].variant)" end)\" " +
		($r | map(tostring) | join(" "))' "$json" >"$scratch/ratios"
	column=1 bars=''
	for format in $formats; do
		column=$((column + 1))
		bars="$bars${bars:+, }'$scratch/ratios' using $column:xtic(1) title '$format'"
	done
	gnuplot <<-END
	set terminal svg size 1100,600 noenhanced background rgb 'white'
	set output '$2'
	set title 'Times the floor, pages of $1, smallest guest (1: as fast as the machine can)'
	set style data histogram
	set style fill solid
	set logscale y
	set xtics rotate by -45
	set rmargin 12
	set grid y
	set datafile missing '?'
	plot $bars
	END
	echo "$2"
}

json=$1
for page in 4K 2M; do
	growth $page "$2/growth-$page.svg"
	ratios $page "$2/ratios-$page.svg"
done

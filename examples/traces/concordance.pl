#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# The program behind concordance.trace.xz: where does each word stand in the files named?
use strict;
use warnings;

my (%places, %count);
for my $file (@ARGV) {
	open(my $in, '<', $file) or die "$file: $!\n";
	while (my $line = <$in>) {
		for my $word ($line =~ /[A-Za-z]+/g) {
			push @{$places{lc $word}}, "$file:$.";
			$count{lc $word}++;
		}
	}
}
for my $word (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count) {
	printf "%-20s %6d  %s\n", $word, $count{$word}, join(' ', @{$places{$word}});
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Aging that skips idle subtrees (engine/idle.h): age calls, an MMU that keeps pointers to tables, software that
 * makes a leaf young.
 *
 * Shows: a leaf that is young, and whose user is done, when a call begins is found by it, or by another that was
 * running meanwhile: skipping loses nothing.
 *
 * Bounds: one leaf below two interior entries; two threads that age, with three calls and two; one leaf made young by
 * software, in a fault, a populate or a collapse; an MMU whose walks take one step for each entry, that keeps
 * pointers to tables and the leaf, and drops them when it likes.
 *
 * Not here: tables that are cut off or linked meanwhile: a fresh one is not idle, and its entry has A set; table
 * locks: who makes marks is alone.
 */
#include "protocol.h"

#define TOP 2 /* the root's entry, which points to the upper table; 1: its entry, to the lower one; 0: the leaf */

bool a[3];      /* Accessed */
bool idle[3];   /* tdpi_table.idle of the table below each entry */
bool marking;   /* mm->marking */
byte pwc = TOP; /* the highest entry that the MMU has to read: it knows where the table is */
bool tlb;       /* it need not even read the leaf */
bool walking;
bool missed[2]; /* ghost: the leaf was young when this call began, and nobody has found it since */
bool making;    /* ghost: software has made the leaf young and has not told yet */

#ifdef IDLE_UNFLUSHED
#define FLUSH skip
#else
#define FLUSH atomic { !walking -> pwc = TOP; tlb = false } /* ends when walks that were under way have */
#endif

#ifdef MARKS_BY_ANY
#define TAKE_MARKING marks = true
#else
#define TAKE_MARKING atomic { marks = !marking; marking = true }
#endif

#ifdef IDLE_AT_ONCE
#define SETTLED true
#else
#define SETTLED false
#endif

/* idle_settle(): nothing young was found below entry x. A is cleared, or, the next time, still clear. */
inline settle(x)
{
	if
	:: a[x] ->
#ifdef IDLE_LATE
		a[x] = false;
		idle[x] = SETTLED;
#else
		idle[x] = SETTLED;
		a[x] = false;
#endif
		flush = true
	:: else -> idle[x] = true
	fi
}

/* iter_idle(): two loads. */
inline look(x)
{
	used = a[x];
	if
	:: !used -> used = !idle[x]
	:: else
	fi
}

/* tdp_age() */
proctype age(byte me, calls)
{
	bool marks, used, flush, young;

	do
	:: calls == 0 -> break
	:: else ->
		atomic { calls--; missed[me] = a[0] && !making && !walking };
		TAKE_MARKING;
		look(2);
		if
		:: used ->
			look(1);
			if
			:: used -> /* age_run() */
				d_step {
					young = a[0];
					if :: young -> a[0] = false; missed[0] = false; missed[1] = false :: else fi
				};
				if :: !young && marks -> settle(1) :: else fi
			:: else
			fi;
			if :: !young && marks -> settle(2) :: else fi
		:: else
		fi;
		if :: flush -> FLUSH :: else fi;
		if :: marks -> marking = false :: else fi;
		d_step { assert(!missed[me]); marks = false; used = false; flush = false; young = false }
	od
}

/* A fault, a populate, a collapse: the leaf, then what an MMU sets on its way, from below (note_used()). */
proctype make_young()
{
	atomic { a[0] = true; making = true };
#ifndef YOUNG_UNTOLD
#ifdef TOLD_FROM_ABOVE
	a[2] = true;
	a[1] = true;
#else
	a[1] = true;
	a[2] = true;
#endif
#endif
	making = false
}

active proctype mmu()
{
end:	do
	:: atomic { !walking && !tlb -> walking = true }
	:: atomic { walking && pwc > 0 -> a[pwc] = true; pwc-- } /* A, then it may keep the pointer */
	:: atomic { walking && pwc == 0 -> a[0] = true; tlb = true; walking = false }
	:: atomic { walking -> walking = false } /* it ended in a fault */
	:: atomic { !walking && tlb -> tlb = false }
	:: atomic { !walking && !tlb && pwc < TOP -> pwc++ }
	od
} /* unreached: never ends */

init
{
	atomic {
		a[1] = true;
		a[2] = true;
		run age(0, 3);
		run age(1, 2);
		run make_young()
	}
}

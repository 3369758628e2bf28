/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The running range and the sequence of invalidations (mm/invalidate.c) as a fault reads them (tdpi_invalidated()).
 *
 * Shows: whatever mix of values of several invalidations a fault reads, it does not install a page that one of them has
 * taken away.
 *
 * Bounds: one leaf table with two frames; two invalidations, of frame 0 and of frame 0 or 1, overlapping or one after
 * the other; a fault on frame 0 that comes again after RETRY. Each load and store of the range is a step of its own.
 *
 * Not here: walks (invalidate.pml), so the zap is the one locked look at the entry, and its flush one step.
 */
#include "protocol.h"

byte start, finish; /* inv.start, inv.end */
byte running, seq;
bool inv_lock, lock;
byte entry, cur = 1, gone; /* of frame 0 */

proctype invalidation(byte g)
{
	LOCK(inv_lock); /* tdp_invalidate_begin() */
	if
	:: running == 0 ->
		start = g;
		finish = g + 1
	:: else ->
		start = (g < start -> g : start);
		finish = (g + 1 > finish -> g + 1 : finish)
	fi;
	running++;
	UNLOCK(inv_lock);
	LOCK(lock); /* tdp_zap() */
	if :: g == 0 -> entry = 0 :: else fi;
	UNLOCK(lock);
	if
	:: g == 0 ->
		d_step { gone = cur; cur++; assert(entry == 0 || entry > gone) }
	:: else
	fi;
	LOCK(inv_lock); /* tdp_invalidate_end() */
#ifdef RUNNING_FIRST
	running--;
	seq++;
#else
	seq++;
	running--;
#endif
	UNLOCK(inv_lock)
}

proctype fault()
{
	byte was, page, a, z, now;
	bool some;

retry:
	was = seq;
	page = cur;
	LOCK(lock);
	some = running != 0;
#ifdef RANGE_RELAXED
	now = seq; /* nothing orders it after relaxed loads of the range */
#endif
	if
	:: some ->
		z = finish;
		a = start;
		if :: 0 < z && 1 > a -> UNLOCK(lock); goto retry :: else fi
	:: else
	fi;
#ifndef RANGE_RELAXED
	now = seq;
#endif
	if :: now != was -> UNLOCK(lock); goto retry :: else fi;
	entry = page;
	assert(page > gone);
	UNLOCK(lock)
}

init
{
	atomic {
		run invalidation(0);
		if :: run invalidation(0) :: run invalidation(1) fi;
		run fault()
	}
}

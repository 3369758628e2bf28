/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A root that is made while an invalidation runs (A3 beside A4). It has no parent whose lock both would take, so what
 * decides is the list of roots on one side and the running range on the other: each stores one and loads the other.
 *
 * Shows: the zap finds the new root, or the fault in it sees the range.
 *
 * Bounds: one invalidation, one root with one entry, made by who faults in it at once (tdp_populate()). Both stores
 * wait in buffers until they drain or a fence makes them; taking or dropping a lock is no fence.
 */
#include "protocol.h"

bool running, running_wait, listed, listed_wait;
bool seq, gone, lock;
byte entry; /* of the new root */

active proctype invalidation()
{
	running_wait = true; /* tdp_invalidate_begin() */
#ifndef NO_LIST_FENCE
	!running_wait; /* tdpi_root_next() */
#endif
	if
	:: listed ->
		LOCK(lock);
		entry = 0;
		UNLOCK(lock)
	:: else
	fi;
	gone = true;
	assert(entry == 0);
	atomic { seq = true; running_wait = false }; /* tdp_invalidate_end() */
	running = false
}

active proctype populate()
{
	bool was, there;

	listed_wait = true; /* tdpi_root_get() */
#ifndef NO_ROOT_FENCE
	!listed_wait;
#endif
	was = seq;
	there = !gone; /* resolve(): whatever is there now, if it is not this page */
	LOCK(lock);
	if
	:: there && !running && seq == was ->
		entry = 1;
		assert(!gone)
	:: else
	fi;
	UNLOCK(lock)
}

active proctype drain()
{
end:	do
	:: atomic { running_wait -> running_wait = false; running = true }
	:: atomic { listed_wait -> listed_wait = false; listed = true }
	od
} /* unreached: never ends */

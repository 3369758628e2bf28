/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A slot is removed while a vCPU's fault asks its backing (A7). The fault notes the slot in its vCPU, inside the section
 * in which it found it; the removal unpublishes, waits for a grace period, says that it waits, and looks at the notes.
 * Who has its answer drops the note and then looks whether anybody waits.
 *
 * Shows: the slot is not freed while it is asked, and the removal does not sleep for good.
 *
 * Bounds: one removal, one vCPU with two faults. Dropping the note and saying "I wait" sit in store buffers until they
 * drain or a fence makes them. The note itself needs no fence: the grace period waits for the section that made it.
 */
#include "protocol.h"

bool published = true, freed, section;
bool asking, drop_waits; /* tdp_vcpu.asking; its end not yet seen by others */
bool awaited, await_waits;
byte answers;

active proctype vcpu()
{
	byte n;

	do
	:: n < 2 ->
		n++;
		section = true;
		if
		:: published ->
#ifdef ASK_OUTSIDE
			section = false;
			asking = true;
#else
			asking = true; /* tdpi_slot_ask() */
			section = false;
#endif
			assert(!freed); /* resolve() */
			drop_waits = true; /* tdpi_slot_answered() */
#ifndef NO_ANSWER_FENCE
			!drop_waits;
#endif
			if
			:: awaited -> answers++
			:: else
			fi;
			!drop_waits /* before the next note: the same word */
		:: else -> section = false
		fi
	:: else -> break
	od
}

active proctype removal()
{
	byte was;

	published = false; /* slot_leave() */
	!section; /* synchronize() */
#ifndef NO_ANSWER_WAIT
	await_waits = true; /* wait_for_answers() */
#ifndef NO_AWAIT_FENCE
	!await_waits;
#endif
	do
	:: was = answers;
		if
		:: !asking -> break
		:: else
		fi;
		if
		:: answers != was /* env.wait() */
		:: timeout -> assert(false) /* sleeps for good */ /* unreached: somebody wakes it */
		fi
	od;
#endif
	freed = true
}

active proctype drain()
{
end:	do
	:: atomic { drop_waits -> drop_waits = false; asking = false }
	:: atomic { await_waits -> await_waits = false; awaited = true }
	od
} /* unreached: never ends */

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest entry against a flush that leaves vCPUs alone which are not in the guest: how a backend may keep what backend.h
 * asks of flush_range(), which everything else relies on as one step.
 *
 * Shows: when the flush has returned, no vCPU in the guest uses what it removed: the entering vCPU stores "in guest"
 * and then loads the generation, the flush stores the generation and then loads "in guest", with a full fence
 * between the two on both sides.
 *
 * Bounds: one vCPU that enters and leaves for ever with a TLB that stays, two removals, each with its flush, of which
 * the second may begin before the first is waited for. Stores of both wait in a buffer of one entry each until they
 * drain by themselves or a fence makes them.
 *
 * Not here: loads that are done too early (a full fence orders these as well); several vCPUs (each on its own).
 */
#include "protocol.h"

byte entry = 1, gone; /* the page that is mapped; the latest one that was freed */
bool in_guest, in_wait, in_value;
byte gen, gen_value, served;
bool gen_wait, kicked;

#define STORE_IN(v)  atomic { !in_wait -> in_wait = true; in_value = v }
#define STORE_GEN(v) atomic { !gen_wait -> gen_wait = true; gen_value = v }

active proctype vcpu()
{
	byte tlb;

end:	do
	:: STORE_IN(true);
#ifndef NO_ENTRY_FENCE
		!in_wait;
#endif
		atomic { if :: gen != served -> served = gen; tlb = 0 :: else fi };
		do
		:: kicked -> break
		:: break /* any exit */
		:: atomic { tlb == 0 && entry != 0 -> tlb = entry }
		:: atomic { tlb != 0 -> assert(tlb > gone) }
		od;
		STORE_IN(false);
		!in_wait;
		kicked = false
	od
} /* unreached: never ends */

/* tdp_gate_flush_begin() and tdp_gate_flush_wait(): the next removal may begin before the flush of this one has ended. */
active proctype remover()
{
	byte page = 1, ended;

	do
	:: page < 3 ->
		entry = 0;
		STORE_GEN(page); /* one more than before */
#ifndef NO_FLUSH_FENCE
		!gen_wait;
#endif
		if :: in_guest -> kicked = true :: else fi;
		page++;
		entry = page
	:: ended + 1 < page ->
		ended++;
#ifndef KICKED_NOT_STOPPED
		!in_guest || served >= ended; /* must_leave(): until it has left, if it was in before */
#endif
		gone = ended /* flushed: it may be freed */
	:: ended == 2 -> break
	od
}

active proctype drain_in()
{
end:	do
	:: atomic { in_wait -> in_guest = in_value; in_wait = false }
	od
} /* unreached: never ends */

active proctype drain_gen()
{
end:	do
	:: atomic { gen_wait -> gen = gen_value; gen_wait = false }
	od
} /* unreached: never ends */

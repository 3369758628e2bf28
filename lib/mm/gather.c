/* SPDX-License-Identifier: BSD-2-Clause */
/* Flush before free: tickets, the flush itself, collection of dirty bits, retirement. */
#include "mm/gather.h"

#include "engine/engine.h"

/*
 * Threads differ in their stack, mostly by a multiple of its size: a product spreads that over the tickets. A thread
 * comes back to its own, whose line nobody else has taken away. With test points nothing may depend on addresses.
 */
static unsigned first_ticket(const struct tdpi_gather *g)
{
	uint64_t thread = TDP_TEST_POINTS ? 0 : (uint64_t)(uintptr_t)g >> 16;

	return (unsigned)(thread * UINT64_C(0x9e3779b97f4a7c15) >> (64 - TDPI_TICKETS_LG2));
}

void tdpi_gather_begin(struct tdpi_gather *g, struct tdp_mm *mm, enum tdp_op op)
{
	unsigned i = first_ticket(g);

	tdpi_gather_begin_flush_only(g, mm, NULL, op);
	for (unsigned tries = 0; tries < TDPI_TICKETS; i = (i + 1) % TDPI_TICKETS, tries++) {
		g->ticket = &mm->tickets[i];
		if (tdpi_load_relaxed(&g->ticket->busy) == 0 &&
		    tdpi_trylock(&mm->env, &g->ticket->busy, TDPI_LOCK_TICKET))
			break;
		if (tries + 1 == TDPI_TICKETS) /* all in use: wait for this one */
			tdpi_lock(&mm->env, &g->ticket->busy, TDPI_LOCK_TICKET);
	}
	g->number = tdpi_load_relaxed(&g->ticket->done) + 1;
	g->counts = &g->ticket->counts;
}

void tdpi_gather_removed(struct tdpi_gather *g, struct tdpi_locked l, tdpi_gfn_t start,
			 tdpi_gfn_t end, uint32_t levels, enum tdp_flush_cause cause)
{
	struct tdpi_table *t = l.t;
	uint64_t ours = g->number * TDPI_TICKETS + (uint64_t)(g->ticket - g->mm->tickets);

	t->removals++;
	if (g->quiet)
		return;
	tdpi_gather_range(g, start, end, levels, cause);
	if (t->owed != ours && tdpi_owes(g->mm, t)) {
		unsigned shift = tdpi_level_shift(g->mm, t->level + 1u);

		tdpi_gather_range(g, t->gfn, t->gfn + TDPI_BIT(shift), TDPI_LEVELS_ALL,
				  TDP_FLUSH_OWED);
	}
	t->owed = ours; /* A4b: pairs with tdpi_owes() under the same lock */
}

void tdpi_gather_table(struct tdpi_gather *g, struct tdpi_table *t)
{
	g->freed += g->mm->engine->cut_off(g->mm, g->counts, t);
	tdpi_gather_push(g, t);
}

/* As the backend takes it. size 0: everything. */
static struct tdp_range range_of(const struct tdp_mm *mm, tdpi_gfn_t start, tdpi_gfn_t end)
{
	uint64_t top = TDPI_BIT(mm->gpa_bits - TDP_PAGE_LG2);

	/* A table at the top may span more than the guest-physical width (few entries of it used). */
	end = tdpi_min64(end, top);
	if (!(mm->caps.flags & TDP_CAP_RANGE_FLUSH) || (start == 0 && end == top))
		return (struct tdp_range){0, 0};
	return (struct tdp_range){start << TDP_PAGE_LG2, (end - start) << TDP_PAGE_LG2};
}

void tdpi_flush(struct tdpi_gather *g, tdpi_gfn_t start, tdpi_gfn_t end, uint32_t levels,
		uint32_t causes)
{
	struct tdp_mm *mm = g->mm;
	struct tdp_range r = range_of(mm, start, end);

	tdpi_lockcheck(&mm->env, TDPI_CALL_FLUSH);
	if (!r.size) {
		mm->backend.flush_all(mm->backend_ctx);
		tdpi_count(g->counts, flush_all, 1);
	} else {
		if (mm->backend.flush_leaves && levels != TDPI_LEVELS_ALL) {
			mm->backend.flush_leaves(mm->backend_ctx, r, levels);
			tdpi_count(g->counts, flush_leaves, 1);
		} else {
			mm->backend.flush_range(mm->backend_ctx, r);
		}
		tdpi_count(g->counts, flush_range, 1);
	}
	tdpi_count_flush(g->counts, g->op, causes);
}

void tdpi_flush_begin(struct tdpi_gather *g)
{
	struct tdp_mm *mm = g->mm;
	struct tdp_range r = range_of(mm, g->start, g->end);
	uint32_t levels = r.size && g->levels != TDPI_LEVELS_ALL ? g->levels : 0;

	tdpi_lockcheck(&mm->env, TDPI_CALL_FLUSH_BEGIN);
	g->token[g->begun++] = mm->backend.flush_begin(mm->backend_ctx, r, levels);
	tdpi_count(g->counts, flush_begun, 1);
	tdpi_count(g->counts, flush_all, r.size == 0);
	tdpi_count(g->counts, flush_range, r.size != 0);
	tdpi_count(g->counts, flush_leaves, levels != 0);
	tdpi_count_flush(g->counts, g->op, g->causes);
	tdpi_gather_reset_range(g);
}

/* What is left now, while what was begun may be under way; then that. */
static struct tdpi_flushed gather_flush(struct tdpi_gather *g)
{
	if (g->start < g->end && !g->quiet)
		tdpi_flush(g, g->start, g->end, g->levels, g->causes);
	while (tdpi_unlikely(g->begun)) {
		tdpi_lockcheck(&g->mm->env, TDPI_CALL_FLUSH_WAIT);
		g->mm->backend.flush_wait(g->mm->backend_ctx, g->token[--g->begun]);
	}
	return (struct tdpi_flushed){g->number};
}

/*
 * The MMU has dropped everything, so the cut-off tables change no more: read what it left there, then
 * say that it is done, then let the pages go.
 */
static void gather_retire(struct tdpi_flushed proof, struct tdpi_gather *g)
{
	struct tdpi_table *free_list = NULL, *t = g->tables;
	uint64_t count = 0;

	tdpi_rcu_lock(g->mm); /* for the memslots that dirty bits go to */
	while (t) {
		struct tdpi_table *next = t->next;

		count += g->mm->engine->collect(g->mm, t, &free_list);
		t = next;
	}
	tdpi_rcu_unlock(g->mm);
	if (g->ticket) {
		tdpi_store_release(&g->ticket->done, proof.number); /* A4b: complete */
		g->number = proof.number + 1;
		if (tdpi_load_relaxed(&g->ticket->collecting)) {
			/* A5: the bits are in the log before a waiting harvest reads it. */
			if (tdpi_xchg_release(&g->ticket->collecting, 0u) == 2 && g->mm->env.wake)
				g->mm->env.wake(g->mm->env.priv, &g->ticket->collecting);
		}
	}
	tdpi_retire(g->mm, free_list, count);
}

void tdpi_gather_finish(struct tdpi_gather *g)
{
	if (tdpi_gather_idle(g) && !(g->ticket && tdpi_load_relaxed(&g->ticket->collecting)))
		return;
	gather_retire(gather_flush(g), g);
	tdpi_gather_reset(g);
}

void tdpi_gather_end(struct tdpi_gather *g)
{
	tdpi_gather_finish(g);
	if (!g->ticket)
		return;
	tdpi_unlock(&g->mm->env, &g->ticket->busy);
	g->ticket = NULL;
}

void tdpi_wait_collected(struct tdp_mm *mm)
{
	tdpi_lockcheck(&mm->env, TDPI_CALL_COLLECTED);
	for (unsigned i = 0; i < TDPI_TICKETS; i++) {
		struct tdpi_ticket *ticket = &mm->tickets[i];
		uint64_t was = tdpi_load_relaxed(&ticket->done);
		uint32_t state;

		/* Also satisfied when it has finished once and is collecting something newer. */
		while ((state = tdpi_load_acquire(&ticket->collecting)) != 0 &&
		       tdpi_load_acquire(&ticket->done) == was) {
			if (!mm->env.wait)
				tdpi_relax(&mm->env);
			else if (state == 2 || tdpi_cas_relaxed(&ticket->collecting, &state, 2u))
				mm->env.wait(mm->env.priv, &ticket->collecting, 2);
		}
	}
}

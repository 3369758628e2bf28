/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From flushed to free: tables wait for a grace period in two lists, one collecting, one waiting.
 * One callback head per mm serves any number of tables, so retiring never allocates and cannot fail.
 */
#include "mm/table.h"

static void retire_callback(struct tdp_rcu_head *head);

/* Called with retire_lock held, drops it. defer() may call back at once, so not under the lock. */
static void start_batch(struct tdp_mm *mm)
{
	bool start = !mm->retire_running && mm->retire_pending;

	if (start) {
		tdpi_store_relaxed(&mm->retire_running, 1u);
		mm->retire_inflight = mm->retire_pending;
		mm->retire_pending = NULL;
	}
	tdpi_unlock(&mm->env, &mm->retire_lock);
	if (start)
		mm->rcu.defer(&mm->retire_rcu, retire_callback);
}

static void retire_callback(struct tdp_rcu_head *head)
{
	struct tdp_mm *mm = tdpi_container_of(head, struct tdp_mm, retire_rcu);
	struct tdpi_table *t = mm->retire_inflight; /* ours alone while retire_running */
	uint64_t count = 0;

	mm->retire_inflight = NULL;
	while (t) {
		struct tdpi_table *next = t->next;

		tdpi_pool_give(mm, t);
		t = next;
		count++;
	}
	tdpi_lock(&mm->env, &mm->retire_lock, TDPI_LOCK_RETIRE);
	tdpi_sub_relaxed(&mm->retired, count);
	tdpi_store_relaxed(&mm->retire_running, 0u);
	start_batch(mm);
}

void tdpi_retire(struct tdp_mm *mm, struct tdpi_table *list, uint64_t count)
{
	struct tdpi_table *last = list;

	if (!list)
		return;
	while (last->next)
		last = last->next;
	tdpi_lock(&mm->env, &mm->retire_lock, TDPI_LOCK_RETIRE);
	last->next = mm->retire_pending;
	mm->retire_pending = list;
	tdpi_add_relaxed(&mm->retired, count);
	start_batch(mm);
}

void tdpi_retire_wait(struct tdp_mm *mm)
{
	bool more;

	do {
		/* A callback starts the next batch itself, so each round waits for at least one. */
		tdpi_barrier(mm);
		tdpi_lock(&mm->env, &mm->retire_lock, TDPI_LOCK_RETIRE);
		more = mm->retire_running || mm->retire_pending;
		tdpi_unlock(&mm->env, &mm->retire_lock);
	} while (more);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Roots. The list is read under RCU; a root leaves it only when its last reference goes, so whoever holds
 * one may step on from it. The mm itself holds one reference from birth until the root is invalid and
 * torn down: that keeps it reachable for zaps as long as anything can be mapped in it.
 */
#include "mm/root.h"

#include "fmt/contract.h"

static struct tdpi_table *root_page(const struct tdp_root *root, unsigned i)
{
	return (struct tdpi_table *)((uintptr_t)root->table + i * TDPI_META_SIZE);
}

bool tdpi_root_hold(struct tdp_root *root)
{
	uint32_t refs = tdpi_load_relaxed(&root->refs);

	do {
		if (refs == 0)
			return false;
	} while (!tdpi_cas_acquire(&root->refs, &refs, refs + 1));
	return true;
}

static void root_discard(struct tdp_mm *mm, struct tdp_root *root)
{
	for (unsigned i = 0; i < mm->root_pages; i++)
		tdpi_pool_give(mm, root_page(root, i));
	mm->env.obj_free(mm->env.priv, root, sizeof(*root));
}

static void root_free(struct tdp_rcu_head *head)
{
	struct tdp_root *root = tdpi_container_of(head, struct tdp_root, rcu);
	struct tdp_mm *mm = root->mm;

	root_discard(mm, root);
	tdpi_sub_relaxed(&mm->retired, mm->root_pages);
}

static void root_unlink(struct tdp_mm *mm, struct tdp_root *root)
{
	struct tdp_root **link = &mm->roots;

	tdpi_lock(&mm->env, &mm->roots_lock, TDPI_LOCK_ROOTS);
	while (*link != root)
		link = &(*link)->next;
	tdpi_store_release(link, root->next);
	tdpi_store_relaxed(&mm->root_count, mm->root_count - 1);
	tdpi_unlock(&mm->env, &mm->roots_lock);
}

bool tdpi_root_drop(struct tdp_mm *mm, struct tdp_root *root)
{
	uint32_t refs = tdpi_load_relaxed(&root->refs);

	do {
		if (refs == 0 || (refs == 1 && !tdpi_load_acquire(&root->torn))) {
			tdpi_bug(mm, "the last reference of a root that still maps was dropped");
			return false;
		}
	} while (!tdpi_cas_acq_rel(&root->refs, &refs, refs - 1));
	if (refs > 1)
		return false;
	root_unlink(mm, root);
	tdpi_add_relaxed(&mm->retired, mm->root_pages);
	mm->rcu.defer(&root->rcu, root_free); /* A3: after every reader of the list */
	return true;
}

/* From there on, the first that is meant. */
static struct tdp_root *root_match(struct tdp_root *root, uint32_t as_id, unsigned which)
{
	for (; root; root = tdpi_load_acquire(&root->next)) {
		bool invalid = tdpi_load_acquire(&root->invalid);

		if ((as_id == TDP_AS_ALL || root->as_id == as_id) &&
		    which & (invalid ? TDPI_ROOTS_INVALID : TDPI_ROOTS_VALID))
			break;
	}
	return root;
}

static struct tdp_root *root_after(const struct tdp_mm *mm, const struct tdp_root *prev,
				   uint32_t as_id, unsigned which)
{
	return root_match(tdpi_load_acquire(prev ? &prev->next : &mm->roots), as_id, which);
}

struct tdp_root *tdpi_root_inside(struct tdp_mm *mm, struct tdp_root *prev, uint32_t as_id,
				  unsigned which)
{
	struct tdp_root *root;

	if (!prev) {
		tdpi_fence_seq_cst(); /* A4d: pairs with tdpi_root_get() */
		tdpi_rcu_lock(mm);
	}
	root = root_after(mm, prev, as_id, which);
	if (!root)
		tdpi_rcu_unlock(mm);
	return root;
}

struct tdp_root *tdpi_root_next(struct tdp_mm *mm, struct tdp_root *prev, uint32_t as_id,
				unsigned which)
{
	struct tdp_root *root;

	tdpi_rcu_lock(mm);
	root = root_after(mm, prev, as_id, which);
	while (root && !tdpi_root_hold(root))
		root = root_after(mm, root, as_id, which);
	tdpi_rcu_unlock(mm);
	if (prev)
		tdpi_root_drop(mm, prev);
	return root;
}

static struct tdp_root *root_find(struct tdp_mm *mm, tdp_role_t role)
{
	struct tdp_root *root;

	for (root = tdpi_load_acquire(&mm->roots); root; root = tdpi_load_acquire(&root->next))
		if (root->role == role && !tdpi_load_acquire(&root->invalid) &&
		    tdpi_root_hold(root))
			break;
	return root;
}

/* Complete, but on no list yet; one reference for the mm, one for the caller. */
static int root_make(struct tdp_mm *mm, tdp_role_t role, struct tdp_root **out)
{
	struct tdp_root *root = tdpi_obj_alloc(&mm->env, sizeof(*root));
	unsigned top = mm->levels - 1;
	int ret;

	if (!root)
		return TDP_ENOMEM;
	ret = tdpi_pool_take(mm, mm->root_pages, &root->table);
	if (ret) {
		mm->env.obj_free(mm->env.priv, root, sizeof(*root));
		return ret;
	}
	root->mm = mm;
	root->role = role;
	root->entries = tdpi_table_entries(mm, root->table);
	root->level = top;
	root->as_id = tdp_role_as(role);
	root->refs = 2;
	for (unsigned i = 0; i < mm->root_pages; i++) {
		struct tdpi_table *t = root_page(root, i);

		mm->engine->fill(mm, t, top);
		t->level = (uint8_t)top;
		t->cached = (uint8_t)TDPI_BIT(top);
		t->role = (uint32_t)role;
		t->gfn = (uint64_t)i << tdpi_level_shift(mm, top + 1);
		t->root = root;
		tdpi_store_release(&t->state, (uint8_t)TDPI_TABLE_LINKED);
	}
	*out = root;
	return TDP_OK;
}

/*
 * Invalid trees that no MMU walks from are torn down here when they are in the way: every change of a slot may
 * leave some, and a caller that never asks for it would otherwise run out of roots by doing nothing wrong.
 */
static bool root_room(struct tdp_mm *mm)
{
	if (tdpi_load_relaxed(&mm->root_count) >= mm->max_roots)
		tdpi_roots_reclaim(mm, 0);
	return tdpi_load_relaxed(&mm->root_count) < mm->max_roots;
}

/* Into the list, unless another thread made one for this role or took the last place meanwhile. */
static struct tdp_root *root_publish(struct tdp_mm *mm, struct tdp_root *fresh)
{
	struct tdp_root *found;

	tdpi_lock(&mm->env, &mm->roots_lock, TDPI_LOCK_ROOTS);
	found = root_find(mm, fresh->role);
	if (!found && mm->root_count < mm->max_roots) {
		found = fresh;
		fresh->generation = ++mm->root_generation;
		fresh->next = mm->roots;
		tdpi_store_release(&mm->roots, fresh); /* A3: publish */
		tdpi_store_relaxed(&mm->root_count, mm->root_count + 1);
	}
	tdpi_unlock(&mm->env, &mm->roots_lock);
	/*
	 * A4d: linked, then any check against invalidations; those publish, then look for roots. One of the two
	 * sees the other, as no table's lock does it for a root that was not there.
	 */
	tdpi_fence_seq_cst();
	return found;
}

int tdpi_root_get(struct tdp_mm *mm, tdp_role_t role, struct tdpi_counts *counts,
		  struct tdp_root **root)
{
	struct tdp_root *fresh, *found;
	int ret;

	tdpi_rcu_lock(mm);
	found = root_find(mm, role);
	tdpi_rcu_unlock(mm);
	while (!found) {
		if (!root_room(mm))
			return TDP_ENOSPC;
		ret = root_make(mm, role, &fresh);
		if (ret)
			return ret;
		found = root_publish(mm, fresh);
		if (found == fresh) {
			tdpi_count(counts, root_creates, 1);
			tdpi_count(counts, tables[mm->levels - 1], mm->root_pages);
			*root = fresh;
			return TDP_OK;
		}
		root_discard(mm, fresh);
	}
	tdpi_count(counts, root_hits, 1);
	*root = found;
	return TDP_OK;
}

void tdpi_root_fill_view(const struct tdp_mm *mm, const struct tdp_root *root,
			 struct tdp_root_view *view)
{
	struct tdpi_root_geom geom = {
		.pa = tdpi_table_pa(mm, root->table),
		.gpa_bits = mm->gpa_bits,
		.levels = mm->levels,
		.pages = mm->root_pages,
		.ad = mm->ad,
		.vmid = mm->vmid,
		.pa_bits = mm->caps.pa_bits,
	};

	memset(view, 0, sizeof(*view));
	view->size = sizeof(*view);
	view->pa = geom.pa;
	view->generation = root->generation;
	view->format = mm->format;
	view->as_id = (uint16_t)root->as_id;
	view->levels = (uint8_t)mm->levels;
	view->pages = (uint8_t)mm->root_pages;
	mm->engine->root_hw(&geom, view->hw);
}

uint32_t tdpi_roots_mark_invalid(struct tdp_mm *mm)
{
	uint32_t n = 0;

	tdpi_lock(&mm->env, &mm->roots_lock, TDPI_LOCK_ROOTS);
	for (struct tdp_root *root = mm->roots; root; root = root->next) {
		if (!root->invalid) {
			tdpi_store_release(&root->invalid, 1u);
			n++;
		}
	}
	tdpi_unlock(&mm->env, &mm->roots_lock);
	return n;
}

/* No MMU walks from an invalid root any more: it may be torn down without flushes. */
void tdpi_roots_mark_stopped(struct tdp_mm *mm)
{
	tdpi_lock(&mm->env, &mm->roots_lock, TDPI_LOCK_ROOTS);
	for (struct tdp_root *root = mm->roots; root; root = root->next)
		if (root->invalid)
			tdpi_store_release(&root->stopped, 1u);
	tdpi_unlock(&mm->env, &mm->roots_lock);
}

void tdpi_roots_invalidate(struct tdp_mm *mm, enum tdp_op op)
{
	struct tdpi_counts counts = {0};

	/* Who finds all roots invalid already returns only when the one that did it is through. */
	tdpi_lock(&mm->env, &mm->reload_lock, TDPI_LOCK_RELOAD);
	if (tdpi_roots_mark_invalid(mm)) {
		/*
		 * On return no MMU walks from an old root and nothing cached from one is left, so the old
		 * trees need no flush when they are torn down. A vCPU that loaded a new root before the
		 * reload was thrown out of it as well; the generation tells it to load again.
		 */
		tdpi_fence_seq_cst(); /* A3: pairs with change_root() */
		mm->backend.reload(mm->backend_ctx);
		tdpi_add_acq_rel(&mm->reload_generation, 1);
		tdpi_roots_mark_stopped(mm);
		tdpi_count(&counts, flush_all, 1);
		tdpi_count_flush(&counts, op, 1u << TDP_FLUSH_ROOT);
		tdpi_counts_merge(mm, &counts);
	}
	tdpi_unlock(&mm->env, &mm->reload_lock);
}

/* One root, one step. True: it is not finished. */
static bool reclaim_step(struct tdp_mm *mm, struct tdp_root *root, uint64_t max_tables,
			 uint64_t *freed)
{
	struct tdpi_bulk b;
	bool more;

	tdpi_bulk_begin(&b, mm, TDP_OP_ROOTS);
	b.op.gather.quiet = true;
	tdpi_rcu_lock(mm);
	more = mm->engine->teardown(&b.op, root, max_tables);
	tdpi_rcu_unlock(mm);
	*freed += b.op.gather.freed;
	if (!more) {
		uint32_t expected = 0;

		/* Two threads may tear down one root; the mm's reference goes once. */
		if (tdpi_cas_acq_rel(&root->torn, &expected, 1u)) {
			tdpi_count(b.op.counts, tables[mm->levels - 1], -(uint64_t)mm->root_pages);
			tdpi_bulk_end(&b);
			tdpi_root_drop(mm, root);
			return false;
		}
	}
	tdpi_bulk_end(&b);
	return more;
}

/* Tables between two looks at whether somebody else should run. */
#define RECLAIM_STEP 1024u

bool tdpi_roots_reclaim(struct tdp_mm *mm, uint64_t max_tables)
{
	uint64_t freed = 0;

	tdpi_for_each_root(mm, root, TDP_AS_ALL, TDPI_ROOTS_INVALID)
	{
		if (!tdpi_load_acquire(&root->stopped) || tdpi_load_acquire(&root->torn))
			continue;
		for (;;) {
			uint64_t step = RECLAIM_STEP;

			if (max_tables && max_tables - freed < step)
				step = max_tables - freed;
			if (!reclaim_step(mm, root, step, &freed))
				break;
			if (max_tables && freed >= max_tables) {
				tdpi_root_drop(mm, root);
				return true;
			}
			if (mm->env.should_yield && mm->env.should_yield(mm->env.priv))
				tdpi_yield(&mm->env);
		}
	}
	return false;
}

/* ---- public ---- */

int tdp_root_get(struct tdp_mm *mm, tdp_role_t role, struct tdp_root **root)
{
	struct tdpi_counts counts = {0};
	int ret = tdpi_mm_check(mm);

	if (ret)
		return ret;
	if (!root || role == 0 || role != tdp_role_root(mm, tdp_role_as(role)))
		return TDP_EINVAL;
	ret = tdpi_root_get(mm, role, &counts, root);
	if (!ret)
		tdpi_add_relaxed(&(*root)->users, 1);
	tdpi_counts_merge(mm, &counts);
	return ret;
}

int tdp_root_try_get(struct tdp_root *root)
{
	if (!root)
		return TDP_EINVAL;
	if (tdpi_load_acquire(&root->invalid) || !tdpi_root_hold(root))
		return TDP_ENOENT;
	tdpi_add_relaxed(&root->users, 1);
	return TDP_OK;
}

int tdp_root_put(struct tdp_mm *mm, struct tdp_root *root)
{
	uint32_t users;

	if (!mm || !root)
		return TDP_EINVAL;
	if (tdpi_load_relaxed(&mm->bugged))
		return TDP_EIO;
	users = tdpi_load_relaxed(&root->users);
	do {
		if (users == 0) {
			tdpi_bug(mm, "a root was put more often than it was got");
			return TDP_EIO;
		}
	} while (!tdpi_cas_relaxed(&root->users, &users, users - 1));
	return tdpi_root_drop(mm, root);
}

int tdp_root_view(struct tdp_mm *mm, struct tdp_root *root, struct tdp_root_view *view)
{
	if (!mm || !root || !view || view->size != sizeof(*view))
		return TDP_EINVAL;
	tdpi_root_fill_view(mm, root, view);
	return TDP_OK;
}

bool tdp_root_is_invalid(const struct tdp_root *root)
{
	return root && tdpi_load_acquire(&root->invalid);
}

int tdp_roots_invalidate(struct tdp_mm *mm)
{
	int ret = tdpi_mm_check(mm);

	if (!ret)
		tdpi_roots_invalidate(mm, TDP_OP_ROOTS);
	return ret;
}

int tdp_roots_reclaim(struct tdp_mm *mm, uint64_t max_tables)
{
	int ret = tdpi_mm_check(mm);

	return ret ? ret : tdpi_roots_reclaim(mm, max_tables);
}

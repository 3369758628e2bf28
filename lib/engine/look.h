/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking without changing: one address, a range, and the checker of every invariant. Template. */
#ifndef TDPI_ENGINE_LOOK_H
#define TDPI_ENGINE_LOOK_H

#include "engine/map.h"

static void leaf_info(uint64_t e, unsigned level, tdpi_gfn_t gfn, uint64_t encrypt,
		      struct tdp_mapping *out)
{
	struct tdpi_attr a = fmt_attr(e, level);
	unsigned shift = level_shift(level);

	out->gpa = gfn >> shift << (shift + TDP_PAGE_LG2);
	out->pa = fmt_pa(e, level) & ~encrypt;
	out->lg2 = TDP_PAGE_LG2 + shift;
	out->prot = a.prot;
	out->flags = (a.accessed ? TDP_MAP_ACCESSED : 0) | (a.dirty ? TDP_MAP_DIRTY : 0) |
		     (a.tracked ? TDP_MAP_TRACKED_ACCESS : 0) |
		     (a.host_w ? TDP_MAP_HOST_WRITABLE : 0) | (a.mmu_w ? TDP_MAP_MMU_WRITABLE : 0);
}

/*
 * The entry that decides about gfn. A frozen one is being changed by somebody who holds the table's lock:
 * waiting for that lock is waiting for the answer, so a reader never reports a hole that is none.
 */
static TDPI_COLD struct spot thawed_entry(const struct tdp_mm *mm, const struct tdp_root *root,
					  tdpi_gfn_t gfn)
{
	struct spot s = spot_of(mm, root, gfn);

	while (fmt_kind(s.e, s.level) == TDP_ENTRY_FROZEN) {
		struct tdpi_locked l;

		if (tdpi_table_lock(mm, tdpi_table_of(mm, s.ref), &l))
			tdpi_table_unlock(mm, l);
		s = spot_of(mm, root, gfn);
	}
	return s;
}

static inline struct spot deciding_entry(const struct tdp_mm *mm, const struct tdp_root *root,
					 tdpi_gfn_t gfn)
{
	struct spot s = spot_of(mm, root, gfn);

	if (tdpi_unlikely(fmt_kind(s.e, s.level) == TDP_ENTRY_FROZEN))
		s = thawed_entry(mm, root, gfn);
	return s;
}

static bool translate(const struct tdp_mm *mm, const struct tdp_root *root, tdpi_gfn_t gfn,
		      struct tdp_mapping *out)
{
	struct spot s = deciding_entry(mm, root, gfn);

	if (fmt_kind(s.e, s.level) != TDP_ENTRY_LEAF)
		return false;
	leaf_info(seen_leaf(mm, root, gfn, s.e, s.level), s.level, gfn, mm->encrypt_mask, out);
	return true;
}

static bool present(const struct tdp_mm *mm, const struct tdp_root *root, struct tdpi_map *m)
{
	struct spot s = deciding_entry(mm, root, m->gfn);

	if (fmt_kind(s.e, s.level) != TDP_ENTRY_LEAF)
		return false;
	m->leaf = seen_leaf(mm, root, m->gfn, s.e, s.level);
	m->leaf_level = s.level;
	m->next = ((m->gfn >> level_shift(s.level)) + 1) << level_shift(s.level);
	return true;
}

static void path(const struct tdp_mm *mm, struct tdp_root *root, tdpi_gfn_t gfn,
		 struct tdp_path *out)
{
	struct tdpi_table *t = root_table(root, gfn);

	out->first_level = t->level;
	for (;;) {
		unsigned level = t->level;
		uint64_t e =
			tdpi_entry_load_table(tdpi_table_entries(mm, t) + entry_index(gfn, level));

		out->entry[level] = e;
		out->kind[level] = (uint8_t)fmt_kind(e, level);
		out->last_level = (uint8_t)level;
		if (fmt_kind(e, level) != TDP_ENTRY_TABLE)
			return;
		t = table_below(mm, e, level);
	}
}

/* ---- visits ---- */

struct walker {
	const struct tdp_mm *mm;
	struct tdpi_span span;
	uint32_t flags;
	int (*fn)(void *arg, const struct tdp_visit *visit);
	void *arg;
};

static void describe(const struct walker *w, struct tdp_visit *v, uint64_t e, unsigned level,
		     tdpi_gfn_t gfn, bool shut)
{
	struct tdp_mapping leaf = {0};
	enum tdp_entry_kind kind = fmt_kind(e, level);

	if (kind == TDP_ENTRY_LEAF)
		leaf_info(shut ? fmt_wrprot(e, level) : e, level, gfn, w->mm->encrypt_mask, &leaf);
	else if (kind == TDP_ENTRY_TABLE)
		leaf.pa = fmt_pa(e, level) & ~w->mm->encrypt_mask;
	v->gpa = gfn << TDP_PAGE_LG2;
	v->entry = e;
	v->level = level;
	v->kind = kind;
	v->lg2 = TDP_PAGE_LG2 + level_shift(level);
	v->pa = leaf.pa;
	v->prot = leaf.prot;
	v->flags = leaf.flags;
}

static int visit(const struct walker *w, struct tdp_visit *v, uint32_t when)
{
	v->when = when;
	return w->flags & when ? w->fn(w->arg, v) : 0;
}

/* shut: by an entry above. */
static int walk_table(const struct walker *w, struct tdpi_table *t, bool shut)
{
	const tdpi_entry_t *entries = tdpi_table_entries(w->mm, t);
	unsigned level = t->level, shift = level_shift(level);
	tdpi_gfn_t gfn = tdpi_max64(t->gfn, w->span.start >> shift << shift);

	for (; gfn < w->span.end && gfn - t->gfn < level_pages(level + 1);
	     gfn += level_pages(level)) {
		uint64_t e = tdpi_entry_load_table(&entries[entry_index(gfn, level)]);
		enum tdp_entry_kind kind = fmt_kind(e, level);
		struct tdp_visit v;
		int ret = 0;

		if (kind == TDP_ENTRY_EMPTY)
			continue;
		describe(w, &v, e, level, gfn, shut);
		if (kind == TDP_ENTRY_TABLE) {
			ret = visit(w, &v, TDP_WALK_TABLE_PRE);
			if (ret == 0)
				ret = walk_table(w, table_below(w->mm, e, level),
						 shut || table_shut(e));
			else if (ret > 0)
				ret = 0; /* skip what is below */
			if (ret == 0)
				ret = visit(w, &v, TDP_WALK_TABLE_POST);
		} else if (kind == TDP_ENTRY_LEAF) {
			ret = visit(w, &v, TDP_WALK_LEAF);
		} else if (kind == TDP_ENTRY_MMIO) {
			ret = visit(w, &v, TDP_WALK_MMIO);
		}
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int walk(const struct tdp_mm *mm, struct tdp_root *root, struct tdpi_span span,
		uint32_t flags, int (*fn)(void *arg, const struct tdp_visit *visit), void *arg)
{
	struct walker w = {mm, span, flags, fn, arg};

	for (unsigned i = 0; i < mm->root_pages; i++) {
		struct tdpi_table *t =
			(struct tdpi_table *)((uintptr_t)root->table + i * TDPI_META_SIZE);
		int ret = walk_table(&w, t, false);

		if (ret < 0)
			return ret;
	}
	return 0;
}

/* ---- every invariant ---- */

static void broken(struct tdp_report *r, const char *what)
{
	size_t i = 0;

	if (r->errors++)
		return;
	for (; what[i] && i < sizeof(r->first) - 1; i++)
		r->first[i] = what[i];
	r->first[i] = 0;
}

static void check_leaf(struct tdp_mm *mm, const struct tdpi_table *t, uint64_t e, tdpi_gfn_t gfn,
		       struct tdp_report *r)
{
	struct tdpi_attr a = fmt_attr(e, t->level);

	r->leaves[t->level]++;
	if (!(mm->leaf_levels >> t->level & 1))
		broken(r, "a leaf at a level that has none");
	if (fmt_pa(e, t->level) & ((level_pages(t->level) << TDP_PAGE_LG2) - 1))
		broken(r, "the output address of a leaf is not aligned to its size");
	if (a.prot & TDP_W && !a.mmu_w)
		broken(r, "writable, but the engine may not grant that");
	if (a.mmu_w && !a.host_w)
		broken(r, "writable by the engine, but not by the host");
	if (!(mm->ad & TDPI_HW_D) && a.dirty != ((a.prot & TDP_W) != 0))
		broken(r, "without hardware D, dirty and writable differ");
	if (a.tracked && (a.accessed || a.prot & TDP_W || mm->ad & TDPI_HW_A))
		broken(r, "an access-tracked leaf is accessed or writable");
	if (gfn >> (mm->gpa_bits - TDP_PAGE_LG2))
		broken(r, "a leaf beyond the guest-physical width");
}

/* What stands in the metadata of a table must follow from where it hangs. */
static void check_meta(struct tdp_mm *mm, struct tdp_root *root, const struct tdpi_table *t,
		       struct tdp_report *r)
{
	if (t->state != TDPI_TABLE_LINKED && !tdpi_load_acquire(&root->invalid))
		broken(r, "a reachable table is not marked linked");
	if (t->role != tdp_role_at(root->role, t->level))
		broken(r, "the role of a table differs from its root's in more than the level");
	if (t->root != root)
		broken(r, "a table belongs to another root");
	if (t->gfn & (level_pages(t->level + 1u) - 1))
		broken(r, "the first frame of a table is not aligned");
	(void)mm;
}

/* A slot that leaves is found by nobody; its tables are cut off, their parents locked, before it is forgotten. */
static void check_shut(struct tdp_mm *mm, const struct tdpi_table *t, tdpi_gfn_t gfn,
		       struct tdp_report *r)
{
	const struct tdpi_slot *slot = tdpi_slot_at(mm, tdp_role_as(t->role), gfn);

	if (!slot)
		slot = tdpi_load_acquire(&mm->leaving);
	if (!tdpi_load_relaxed(&mm->lazy))
		broken(r, "a table is shut, and nothing was ever armed lazily");
	else if (!slot || gfn - slot->base >= slot->pages ||
		 slot->pages - (gfn - slot->base) < level_pages(t->level))
		broken(r, "a table is shut that is not wholly in a slot");
}

/* The table, and the entry in it, that pointed to another one; up NULL: that is a root. */
struct way {
	const struct tdpi_table *up;
	const tdpi_entry_t *ref;
	uint64_t e;
};

/*
 * Was t cut off since the way was seen to lead to it? Tables are marked stale top down, after the entry
 * that cuts them off has changed; so what excuses a stale table is visible once its lock was taken.
 */
static bool cut_meanwhile(struct way way, const struct tdpi_table *t)
{
	return way.up && t->state >= TDPI_TABLE_STALE &&
	       (tdpi_load_relaxed(&way.up->state) >= TDPI_TABLE_STALE ||
		tdpi_entry_load(way.ref) != way.e);
}

static void check_table(struct tdp_mm *mm, struct tdp_root *root, struct way way,
			struct tdpi_table *t, struct tdp_report *r)
{
	tdpi_entry_t *entries = tdpi_table_entries(mm, t);
	unsigned level = t->level, present = 0, mmio = 0;
	uint32_t parts = 0;

	tdpi_lock(&mm->env, &t->lock, TDPI_LOCK_TABLE);
	if (cut_meanwhile(way, t)) {
		tdpi_unlock(&mm->env, &t->lock);
		return;
	}
	r->tables++;
	check_meta(mm, root, t, r);
	for (unsigned i = 0; i < ENTRIES; i++) {
		uint64_t e = tdpi_entry_load(&entries[i]);
		enum tdp_entry_kind kind = fmt_kind(e, level);

		present += kind != TDP_ENTRY_EMPTY;
		parts |= kind != TDP_ENTRY_EMPTY ? parts_of(i, i) : 0;
		mmio += kind == TDP_ENTRY_MMIO;
		if (!fmt_valid(e, level, mm->caps.pa_bits))
			broken(r, "an entry has a reserved bit or an illegal combination");
		if (kind == TDP_ENTRY_LEAF)
			check_leaf(mm, t, e, t->gfn + i * level_pages(level), r);
		if (kind == TDP_ENTRY_FROZEN)
			broken(r, "an entry is frozen and its table is not locked");
		if (kind == TDP_ENTRY_TABLE && level == 0)
			broken(r, "a table below the lowest level");
		if (kind == TDP_ENTRY_TABLE && table_below(mm, e, level)->parent != &entries[i])
			broken(r, "a table does not know the entry that points to it");
		if (kind == TDP_ENTRY_TABLE && table_shut(e))
			check_shut(mm, t, t->gfn + i * level_pages(level), r);
	}
	if (present != t->present || mmio != t->mmio)
		broken(r, "the number of entries in use differs from the count");
	if (parts & ~t->occupied)
		broken(r, "an entry is in use in a part of its table that is said to be empty");
	r->mmio += mmio;
	tdpi_unlock(&mm->env, &t->lock);
	for (unsigned i = 0; level > 0 && i < ENTRIES; i++) {
		uint64_t e = tdpi_entry_load_table(&entries[i]);

		if (fmt_kind(e, level) == TDP_ENTRY_TABLE)
			check_table(mm, root, (struct way){t, &entries[i], e},
				    table_below(mm, e, level), r);
	}
}

static void check(struct tdp_mm *mm, struct tdp_root *root, struct tdp_report *r)
{
	for (unsigned i = 0; i < mm->root_pages; i++)
		check_table(mm, root, (struct way){0},
			    (struct tdpi_table *)((uintptr_t)root->table + i * TDPI_META_SIZE), r);
}

#endif

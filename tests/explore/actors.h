/* SPDX-License-Identifier: BSD-2-Clause */
/* What stands in a world before its program begins, and the operations that its actors do. */
#ifndef TESTS_EXPLORE_ACTORS_H
#define TESTS_EXPLORE_ACTORS_H

#include "world.h"

/* ---- what stands there before ---- */

static inline void nothing_mapped(void)
{
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
}

/* Room for a whole table, which populating fills before it links it. */
static inline void empty_block(void)
{
	linear_slot(w.block, TDP_SLOT_FORCE_4K);
}

static inline void neighbour_mapped(void)
{
	nothing_mapped();
	must(guest(0, page(1), TDP_W), "map");
}

/* Each vCPU has had a fault in the slot, so its next one goes straight. */
static inline void neighbours_mapped(void)
{
	neighbour_mapped();
	must(guest(1, page(2), TDP_W), "map");
}

static inline void paged_nothing(void)
{
	paged_slot();
}

static inline void paged_neighbour(void)
{
	paged_slot();
	must(guest(0, page(1), TDP_W), "map");
}

static inline void paged_mapped(void)
{
	paged_neighbour();
	must(guest(0, page(0), TDP_W), "map");
	must(guest(1, page(0), TDP_W), "map");
}

static inline void cached_everywhere(void)
{
	nothing_mapped();
	for (unsigned cpu = 0; cpu < 2; cpu++)
		for (unsigned n = 0; n < 2; n++)
			must(guest(cpu, page(n), TDP_W), "map");
}

/* The last page of a table and the first of the next: a walk over both comes to them from above. */
static inline struct tdp_range border(void)
{
	struct tdp_range r = {w.gpa + w.block - TEST_PAGE, 2 * TEST_PAGE};

	return r;
}

/* Nothing in the second: so the walk has work above both, and locks. */
static inline void hole_beyond_border(void)
{
	linear_slot(2 * w.block, TDP_SLOT_FORCE_4K);
	for (unsigned cpu = 0; cpu < 2; cpu++)
		must(guest(cpu, border().start, TDP_W), "map");
}

static inline void border_cached(void)
{
	hole_beyond_border();
	must(guest(0, border().start + TEST_PAGE, TDP_W), "map");
}

static inline void huge_page(void)
{
	linear_slot(w.block, 0);
	must(guest(0, page(0), TDP_W), "map");
	must(guest(1, page(0), TDP_W), "map");
}

/* Walks set Accessed and Dirty, and nothing is cached. */
static inline void forget_all(void)
{
	must(tdp_age(w.vm.mm, 0, block(), NULL), "age");
	tdp_emu_backend.flush_all(w.vm.emu);
}

static inline void huge_and_uncached(void)
{
	huge_page();
	forget_all();
}

static inline void huge_and_protected(void)
{
	huge_page();
	must(tdp_write_protect(w.vm.mm, 0, block()), "protect");
}

static inline void mapped_and_uncached(void)
{
	cached_everywhere();
	forget_all();
}

/* A huge page's worth of small ones, all alike. */
static inline void small_pages(void)
{
	linear_slot(w.block, 0);
	must(guest(0, page(0), TDP_W), "map");
	must(tdp_split(w.vm.mm, 0, block(), TDP_PAGE_LG2), "split");
	must(guest(1, page(0), TDP_W), "map");
}

/* The same, of which one is write-protected. */
static inline void one_protected(void)
{
	small_pages();
	must(tdp_write_protect(w.vm.mm, 0, pages(1, 1)), "protect");
}

static inline void logged(void)
{
	cached_everywhere();
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_AUTO), "log");
	must(guest(0, page(1), TDP_W), "write");
}

static inline void logged_by_protection(void)
{
	cached_everywhere();
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_WRPROT), "log");
}

/* ---- actors ---- */

static inline void guest0_writes(void *arg)
{
	(void)arg;
	w.status[0] = guest(0, page(0), TDP_W);
}

static inline void guest1_writes(void *arg)
{
	(void)arg;
	w.status[1] = guest(1, page(0), TDP_W);
}

static inline void guest1_writes_neighbour(void *arg)
{
	(void)arg;
	w.status[1] = guest(1, page(1), TDP_W);
}

/* Through what it has cached, or not at all. */
static inline void guest1_looks(void *arg)
{
	(void)arg;
	access_once(1, page(0), TDP_R);
}

static inline void populates_block(void *arg)
{
	(void)arg;
	w.status[1] = tdp_populate(w.vm.mm, 0, block(), 0, NULL);
}

static inline void tracks_page(void *arg)
{
	(void)arg;
	must(tdp_write_track(w.vm.mm, 0, pages(0, 1), true), "track");
}

static inline void gives_page_away(void *arg)
{
	(void)arg;
	must(tdp_set_owner(w.vm.mm, 0, pages(0, 1), 1), "owner");
}

static inline void logs_by_protection(void *arg)
{
	(void)arg;
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_WRPROT), "log");
}

static inline void zaps_page(void *arg)
{
	(void)arg;
	must(tdp_zap(w.vm.mm, 0, pages(0, 1), 0), "zap");
}

static inline void zaps_page_and_reuses(void *arg)
{
	zaps_page(arg);
	reuse(PA);
}

static inline void zaps_block(void *arg)
{
	(void)arg;
	must(tdp_zap(w.vm.mm, 0, block(), 0), "zap");
}

static inline void zaps_border_and_reuses(void *arg)
{
	(void)arg;
	must(tdp_zap(w.vm.mm, 0, border(), 0), "zap");
	reuse(PA + w.block - TEST_PAGE);
}

static inline void guest1_looks_at_border(void *arg)
{
	(void)arg;
	access_once(1, border().start, TDP_R);
}

static inline void zaps_block_and_reuses(void *arg)
{
	zaps_block(arg);
	reuse(PA);
}

static inline void replaces(void *arg)
{
	(void)arg;
	replace_page(0);
}

static inline void removes_slot(void *arg)
{
	(void)arg;
	must(tdp_slot_remove(w.vm.mm, w.slot), "remove");
	for (unsigned n = 0; n < 2; n++)
		reuse(PA + n * TEST_PAGE);
}

static inline void splits(void *arg)
{
	(void)arg;
	must(tdp_split(w.vm.mm, 0, block(), TDP_PAGE_LG2), "split");
}

static inline void collapses(void *arg)
{
	(void)arg;
	must(tdp_collapse(w.vm.mm, 0, block(), 0, NULL), "collapse");
}

static inline void ages(void *arg)
{
	(void)arg;
	must(tdp_age(w.vm.mm, 0, pages(0, 2), NULL), "age");
}

static inline void invalidates_roots(void *arg)
{
	(void)arg;
	must(tdp_roots_invalidate(w.vm.mm), "invalidate");
	must(tdp_roots_reclaim(w.vm.mm, 0), "reclaim");
}

static inline void harvests(void *arg)
{
	uint64_t bits = 0;

	(void)arg;
	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	w.bits[0] |= bits;
	tell(1);
}

static inline void protects(void *arg)
{
	(void)arg;
	must(tdp_write_protect(w.vm.mm, 0, pages(0, 1)), "protect");
}

static inline void compacts(void *arg)
{
	(void)arg;
	must(tdp_compact(w.vm.mm, 0, block()), "compact");
}

static inline void populates(void *arg)
{
	int status = tdp_populate(w.vm.mm, 0, pages(0, 2), 0, NULL);

	(void)arg;
	if (status != TDP_EAGAIN) /* its root went */
		must(status, "populate");
}

static inline int keep_lowest(void *arg, const struct tdp_visit *v)
{
	if (v->level == 1)
		*(tdp_pa_t *)arg = v->pa;
	return 0;
}

static inline void zaps_a_table(void *arg)
{
	tdp_pa_t pa = 0;
	int status;

	(void)arg;
	must(tdp_walk(w.vm.mm, 0, pages(0, 1), TDP_WALK_TABLE_PRE, keep_lowest, &pa), "walk");
	status = pa ? tdp_zap_table(w.vm.mm, pa) : TDP_ENOENT;
	if (status != TDP_ENOENT) /* somebody was faster */
		must(status, "zap_table");
}

static inline void moves_slot(void *arg)
{
	(void)arg;
	must(tdp_slot_move(w.vm.mm, w.slot, w.gpa + 4 * w.block), "move");
}

static inline void tracks(void *arg)
{
	(void)arg;
	must(tdp_write_track(w.vm.mm, 0, pages(0, 1), true), "track");
	tell(0);
}

static inline void loads_and_writes(void *arg)
{
	(void)arg;
	must(tdp_vcpu_load(w.vm.cpu[1].vcpu), "load");
	access_once(1, page(0), TDP_W);
}

/* ---- asking ---- */

static inline bool mapped(unsigned n, struct tdp_mapping *m)
{
	m->size = (uint32_t)sizeof(*m);
	return tdp_translate(w.vm.mm, 0, page(n), m) == TDP_OK;
}

/* ---- which formats ---- */

static inline bool has_dirty(const struct test_format *fmt)
{
	return !(fmt->without_caps & (TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY)) &&
	       !(fmt->mm_flags & TDP_MM_NO_HW_AD);
}

static inline bool one_of_each(const struct test_format *fmt)
{
	static const char *const names[] = {
		"ept4",
#if !defined(__SANITIZE_ADDRESS__) /* takes several times as long */
		"test",
		"ept4-noad",
		"npt4",
		"s2-40",
		"s2-noaf",
		"test-noad",
#endif
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(names[i], fmt->name))
			return true;
	return false;
}

/* All of a program's orders, one program after the other; TDP_PROGRAM=name: only this one. */
static inline void worlds_hold(const struct test_format *fmt, const struct world_program *p,
			       size_t n)
{
	const char *only = getenv("TDP_PROGRAM");

	for (size_t i = 0; i < n; i++)
		if ((!p[i].wanted || p[i].wanted(fmt)) && (!only || !strcmp(only, p[i].name)))
			world_holds(fmt, &p[i]);
	printf("# %s: %llu orders in all\n", fmt->name, (unsigned long long)w.orders);
}

#endif

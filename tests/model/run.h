/* SPDX-License-Identifier: BSD-2-Clause */
/* One run of random operations: its machine, its model, and how operands are chosen. */
#ifndef TESTS_MODEL_RUN_H
#define TESTS_MODEL_RUN_H

#include "support/model.h"

#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull;

#define CPUS 2u
#define HELD 2u /* roots that the caller of the library holds */

struct run {
	struct test_vm vm;
	struct model m;
	struct test_rand rand;
	uint32_t cpu_as[CPUS];
	struct test_backing backing[MODEL_SLOTS];
	bool has_backing[MODEL_SLOTS];
	struct tdp_range invalid; /* size 0: no invalidation is running */
	bool by_mode;             /* execution by the guest's mode: TDP_XS and TDP_XU can differ */
	bool starving;            /* memory may run out now … */
	bool limited;             /* … and at any time: the mm has a limit of its own */
	struct tdp_root *held[HELD];
	uint64_t op;
	uint64_t *bitmap; /* as many words as the largest window needs */
};

static bool expect(struct run *r, const char *what, int got, int want)
{
	if (got != want)
		model_complain(&r->m, "%s: %d (%s) instead of %d", what, got,
			       got < 0 ? tdp_status_name(got) : "", want);
	return got == want;
}

/* The same of a call that may need memory. False also when there was none: then it has done nothing. */
static bool served(struct run *r, const char *what, int got, int want)
{
	if (got == TDP_ENOMEM && r->starving)
		return false;
	return expect(r, what, got, want);
}

static struct tdp_range bytes(uint64_t gfn, uint64_t pages)
{
	struct tdp_range range = {gfn << TDP_PAGE_LG2, pages << TDP_PAGE_LG2};

	return range;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static struct model_slot *any_slot(struct run *r)
{
	uint32_t i, from = (uint32_t)test_below(&r->rand, MODEL_SLOTS);

	for (i = 0; i < MODEL_SLOTS; i++) {
		struct model_slot *s = &r->m.slot[(from + i) % MODEL_SLOTS];

		if (s->live)
			return s;
	}
	return NULL;
}

/* Near the start of a slot mostly, so that pages are met again; sometimes just anywhere. */
static uint64_t any_gfn(struct run *r, uint32_t *as_id)
{
	struct model_slot *s = any_slot(r);
	struct model_window *w;
	uint64_t reach;

	*as_id = (uint32_t)test_below(&r->rand, MODEL_AS);
	if (!s || test_one_in(&r->rand, 24)) {
		w = &r->m.win[test_below(&r->rand, r->m.windows)];
		return w->gfn + test_below(&r->rand, w->pages);
	}
	*as_id = s->as_id;
	reach = (uint64_t)1 << test_below(&r->rand, 19);
	if (reach > s->pages || test_one_in(&r->rand, 16))
		reach = s->pages;
	if (test_one_in(&r->rand, 4))
		return s->gfn + s->pages - 1 - test_below(&r->rand, reach);
	return s->gfn + test_below(&r->rand, reach);
}

struct span {
	uint32_t as_id;
	uint64_t gfn, pages;
	struct tdp_range range;
};

static struct span span_of(uint32_t as_id, uint64_t gfn, uint64_t pages)
{
	struct span s = {as_id, gfn, pages, bytes(gfn, pages)};

	return s;
}

/* Some pages of one window: a few, many, a whole huge page, a whole slot, all. */
static struct span any_span(struct run *r)
{
	uint32_t as_id, i = 0, lg2 = r->vm.info.index_lg2;
	uint64_t gfn = any_gfn(r, &as_id), pages, block = (uint64_t)1 << lg2;
	struct model_slot *s = model_slot_at(&r->m, as_id, gfn);
	const struct model_window *w;

	while (gfn - r->m.win[i].gfn >= r->m.win[i].pages)
		i++;
	w = &r->m.win[i];
	switch (test_below(&r->rand, 16)) {
	case 0:
		if (s && (s->pages <= 8192 || test_one_in(&r->rand, 12)))
			return span_of(as_id, s->gfn, s->pages);
		pages = block;
		break;
	case 1:
		if (w->pages <= 8192 || test_one_in(&r->rand, 24))
			return span_of(as_id, w->gfn, w->pages);
		pages = 3 * block;
		break;
	case 2:
	case 3:
		gfn &= ~(block - 1);
		pages = block << test_below(&r->rand, 3);
		/* One page less at either end: where a huge page is only just not covered. */
		pages -= test_one_in(&r->rand, 4);
		gfn += test_one_in(&r->rand, 4);
		break;
	case 4:
	case 5:
	case 6: pages = 1 + test_below(&r->rand, 2 * block); break;
	default: pages = 1 + test_below(&r->rand, 12);
	}
	if (gfn < w->gfn)
		gfn = w->gfn;
	if (pages > w->gfn + w->pages - gfn)
		pages = w->gfn + w->pages - gfn;
	return span_of(as_id, gfn, pages);
}

static bool invalidated(const struct run *r, uint64_t gfn)
{
	return (gfn << TDP_PAGE_LG2) - r->invalid.start < r->invalid.size;
}

#endif

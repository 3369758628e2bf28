/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations that keep translations: write protection, dirty log, aging, page sizes. */
#ifndef TESTS_MODEL_OPS_STATE_H
#define TESTS_MODEL_OPS_STATE_H

#include "run.h"

static void op_write_protect(struct run *r)
{
	struct span p = any_span(r);
	struct model_rules rules = {.any_size = true};

	bool done = served(r, "tdp_write_protect", tdp_write_protect(r->vm.mm, p.as_id, p.range),
			   TDP_OK);

	model_observe(&r->m, p.as_id, p.gfn, p.gfn + p.pages, &rules);
	if (done)
		model_clear(&r->m, p.as_id, p.gfn, p.gfn + p.pages, LEAF_W);
	model_check_page(&r->m, p.as_id, p.gfn + test_below(&r->rand, p.pages));
}

/* ---- dirty log ------------------------------------------------------------------------------- */

static struct model_slot *any_logged(struct run *r)
{
	unsigned tries;
	struct model_slot *s;

	for (tries = 0; tries < 4; tries++) {
		s = any_slot(r);
		if (s && s->log != TDP_LOG_OFF)
			return s;
	}
	return NULL;
}

static bool tables_have_w(const struct run *r)
{
	return r->vm.info.format == TDP_FMT_EPT || r->vm.info.format == TDP_FMT_NPT;
}

static void log_on(struct run *r, struct model_slot *s)
{
	uint32_t mode = 1 + (uint32_t)test_below(&r->rand, 3), real = mode;
	uint32_t flags = test_one_in(&r->rand, 4) ? TDP_LOG_INITIALLY_SET : 0;
	struct model_rules rules = {.any_size = false};
	uint64_t i;
	bool done;

	flags |= test_one_in(&r->rand, 3) ? TDP_LOG_EAGER_SPLIT : 0;
	flags |= test_one_in(&r->rand, 2) ? TDP_LOG_LAZY : 0;
	if (mode == TDP_LOG_AUTO)
		real = r->vm.info.ad & 2 ? TDP_LOG_DBIT : TDP_LOG_WRPROT;
	if ((real == TDP_LOG_DBIT && !(r->vm.info.ad & 2)) ||
	    (flags & TDP_LOG_LAZY && !tables_have_w(r))) {
		expect(r, "tdp_dirty_log without hardware D, or W in tables",
		       tdp_dirty_log(r->vm.mm, s->id, mode | flags), TDP_ENOTSUP);
		return;
	}
	done = served(r, "tdp_dirty_log on", tdp_dirty_log(r->vm.mm, s->id, mode | flags), TDP_OK);
	rules.any_size = flags & TDP_LOG_EAGER_SPLIT;
	if (!done) {
		model_observe(&r->m, s->as_id, s->gfn, s->gfn + s->pages, &rules);
		return;
	}
	model_log_start(&r->m, s, real, flags & TDP_LOG_INITIALLY_SET);
	rules.clean = !(flags & TDP_LOG_INITIALLY_SET);
	model_observe(&r->m, s->as_id, s->gfn, s->gfn + s->pages, &rules);
	/* What was armed lazily has its W still, which comes back if the log is off by then. */
	if (real == TDP_LOG_WRPROT && rules.clean && !(flags & TDP_LOG_LAZY))
		model_clear(&r->m, s->as_id, s->gfn, s->gfn + s->pages, LEAF_W);
	for (i = 0; rules.any_size && i < s->pages; i++) {
		if (r->m.lg2[s->as_id][model_at(&r->m, s->gfn + i)] > TDP_PAGE_LG2) {
			model_complain(&r->m, "gfn %#llx was not split eagerly", (ull)(s->gfn + i));
			break;
		}
	}
}

static void op_log(struct run *r)
{
	struct model_slot *s = any_slot(r);
	struct model_rules rules = {.any_size = false};
	uint32_t flags, other;

	if (!s)
		return;
	if (s->log == TDP_LOG_OFF) {
		log_on(r, s);
		return;
	}
	if (test_one_in(&r->rand, 8)) {
		expect(r, "tdp_dirty_log again", tdp_dirty_log(r->vm.mm, s->id, s->log), TDP_OK);
		return;
	}
	other = s->log == TDP_LOG_DBIT ? TDP_LOG_WRPROT : TDP_LOG_DBIT;
	if (test_one_in(&r->rand, 8) && (r->vm.info.ad & 2)) {
		expect(r, "tdp_dirty_log in another mode", tdp_dirty_log(r->vm.mm, s->id, other),
		       TDP_EEXIST);
		return;
	}
	flags = test_one_in(&r->rand, 2) ? TDP_LOG_RECOVER : 0;
	expect(r, "tdp_dirty_log off", tdp_dirty_log(r->vm.mm, s->id, TDP_LOG_OFF | flags), TDP_OK);
	model_log_stop(s);
	rules.any_size = flags;
	model_observe(&r->m, s->as_id, s->gfn, s->gfn + s->pages, &rules);
}

/* Some words of a slot's bitmap. */
static size_t any_words(struct run *r, const struct model_slot *s, uint64_t *first)
{
	uint64_t words = (s->pages + 63) / 64, n;

	*first = test_below(&r->rand, words);
	if (test_one_in(&r->rand, 3))
		*first = 0;
	n = 1 + test_below(&r->rand, test_one_in(&r->rand, 12) ? words : 16);
	if (n > words - *first)
		n = words - *first;
	*first *= 64;
	return (size_t)n;
}

/* One Dirty bit stands for all of a huge page: cleaning a part hands all of it to the log. */
static void huge_may(struct model *m, struct model_leaf *leaf, uint64_t first, uint64_t pages,
		     void *arg)
{
	struct model_slot *s = arg;
	uint64_t i;

	(void)m;
	for (i = 0; pages > 1 && (leaf->flags & LEAF_W) && i < pages; i++)
		model_bit_set(s->may, first - s->gfn + i);
}

static void cleared(struct run *r, struct model_slot *s, uint64_t first, uint64_t pages)
{
	struct model_rules rules = {.any_size = true, .clean = true};

	if (first >= s->pages)
		return;
	if (pages > s->pages - first)
		pages = s->pages - first;
	rules.clean_gfn = s->gfn + first;
	rules.clean_end = s->gfn + first + pages;
	model_log_bits_clear(s, first, pages);
	if (s->log == TDP_LOG_DBIT)
		model_each(&r->m, s->as_id, rules.clean_gfn, rules.clean_end, huge_may, s);
	model_observe(&r->m, s->as_id, s->gfn + first, s->gfn + first + pages, &rules);
	if (s->log == TDP_LOG_WRPROT)
		model_clear(&r->m, s->as_id, s->gfn + first, s->gfn + first + pages, LEAF_W);
}

static void op_harvest(struct run *r)
{
	struct model_slot *s = any_logged(r);
	uint64_t first;
	size_t words;
	int status;

	if (!s)
		return;
	words = any_words(r, s, &first);
	memset(r->bitmap, 0xee, words * sizeof(*r->bitmap));
	if (test_one_in(&r->rand, 3)) {
		status = tdp_dirty_get(r->vm.mm, s->id, first, r->bitmap, words);
		expect(r, "tdp_dirty_get", status, TDP_OK);
		model_log_compare(&r->m, s, first, r->bitmap, words);
		return;
	}
	status = tdp_dirty_harvest(r->vm.mm, s->id, first, r->bitmap, words);
	expect(r, "tdp_dirty_harvest", status, TDP_OK);
	model_log_compare(&r->m, s, first, r->bitmap, words);
	cleared(r, s, first, 64 * (uint64_t)words);
}

static void op_dirty_clear(struct run *r)
{
	struct model_slot *s = any_logged(r);
	struct model_rules rules = {.any_size = true};
	uint64_t first, pages, mask, end;
	unsigned i;

	if (!s)
		return;
	if (test_one_in(&r->rand, 2)) {
		first = test_below(&r->rand, s->pages);
		pages = 1 + test_below(&r->rand, test_one_in(&r->rand, 8) ? s->pages : 80);
		if (pages > s->pages - first)
			pages = s->pages - first;
		expect(r, "tdp_dirty_clear", tdp_dirty_clear(r->vm.mm, s->id, first, pages),
		       TDP_OK);
		cleared(r, s, first, pages);
		return;
	}
	any_words(r, s, &first);
	mask = test_rand(&r->rand) & test_rand(&r->rand);
	if (s->pages - first < 64)
		mask &= ((uint64_t)1 << (s->pages - first)) - 1;
	if (!mask)
		return;
	end = s->gfn + (s->pages - first < 64 ? s->pages : first + 64);
	expect(r, "tdp_dirty_clear_mask", tdp_dirty_clear_mask(r->vm.mm, s->id, first, mask),
	       TDP_OK);
	for (i = 0; i < 64; i++)
		if ((mask >> i) & 1)
			model_log_bits_clear(s, first + i, 1);
	for (i = 0; i < 64 && s->log == TDP_LOG_DBIT; i++)
		if ((mask >> i) & 1)
			model_each(&r->m, s->as_id, s->gfn + first + i, s->gfn + first + i + 1,
				   huge_may, s);
	model_observe(&r->m, s->as_id, s->gfn + first, end, &rules);
	for (i = 0; i < 64 && s->log == TDP_LOG_WRPROT; i++)
		if ((mask >> i) & 1)
			model_clear(&r->m, s->as_id, s->gfn + first + i, s->gfn + first + i + 1,
				    LEAF_W);
}

static void op_mark(struct run *r)
{
	struct model_slot *s = test_one_in(&r->rand, 4) ? any_slot(r) : any_logged(r);
	uint64_t first, pages, i;

	if (!s)
		return;
	first = test_below(&r->rand, s->pages);
	pages = 1 + test_below(&r->rand, s->pages - first < 100 ? s->pages - first : 100);
	expect(r, "tdp_dirty_mark", tdp_dirty_mark(r->vm.mm, s->id, first, pages), TDP_OK);
	for (i = first; s->log != TDP_LOG_OFF && i < first + pages; i++) {
		model_bit_set(s->must, i);
		model_bit_set(s->may, i);
	}
}

/* ---- aging ----------------------------------------------------------------------------------- */

struct young {
	uint64_t must, may;
};

static void young_one(struct model *m, struct model_leaf *leaf, uint64_t first, uint64_t pages,
		      void *arg)
{
	struct young *y = arg;

	(void)m;
	(void)first;
	(void)pages;
	y->must += (leaf->flags & LEAF_YOUNG_MUST) != 0;
	y->may += (leaf->flags & LEAF_YOUNG_MAY) != 0;
}

static void young_bits(struct run *r, const struct span *p)
{
	uint64_t i, first, n, at;

	for (i = 0; i < p->pages; i++) {
		bool bit = model_bit(r->bitmap, i);
		uint8_t flags = 0;

		at = model_leaf_of(&r->m, p->as_id, p->gfn + i, &first, &n);
		if (r->m.lg2[p->as_id][at])
			flags = r->m.leaf[p->as_id][at].flags;
		if ((bit && !(flags & LEAF_YOUNG_MAY)) || (!bit && (flags & LEAF_YOUNG_MUST))) {
			model_complain(&r->m, "age bitmap: gfn %#llx is %s", (ull)(p->gfn + i),
				       bit ? "young" : "old");
			return;
		}
	}
}

static void op_age(struct run *r)
{
	struct span p = any_span(r);
	struct young y = {0, 0};
	uint64_t count = ~(uint64_t)0;
	bool clear = false;
	int status;

	model_each(&r->m, p.as_id, p.gfn, p.gfn + p.pages, young_one, &y);
	switch (test_below(&r->rand, 3)) {
	case 0:
		status = tdp_age(r->vm.mm, p.as_id, p.range, &count);
		if (status >= 0 && (count < y.must || count > y.may))
			model_complain(&r->m, "tdp_age counts %llu, should be %llu..%llu",
				       (ull)count, (ull)y.must, (ull)y.may);
		clear = true;
		break;
	case 1: status = tdp_test_age(r->vm.mm, p.as_id, p.range); break;
	default:
		clear = test_one_in(&r->rand, 2);
		status = tdp_age_bitmap(r->vm.mm, p.as_id, p.range, clear, r->bitmap,
					(size_t)((p.pages + 63) / 64));
		if (status >= 0)
			young_bits(r, &p);
	}
	if (status < 0 || status > 1 || (status && !y.may) || (!status && y.must))
		model_complain(&r->m, "age of %llu..%llu young leaves: %d", (ull)y.must, (ull)y.may,
			       status);
	if (clear)
		model_clear(&r->m, p.as_id, p.gfn, p.gfn + p.pages,
			    LEAF_YOUNG_MUST | LEAF_YOUNG_MAY);
}

/* ---- page sizes ------------------------------------------------------------------------------ */

static void largest(struct model *m, struct model_leaf *leaf, uint64_t first, uint64_t pages,
		    void *arg)
{
	(void)m;
	(void)leaf;
	(void)first;
	if (*(uint64_t *)arg < pages)
		*(uint64_t *)arg = pages;
}

static void op_split(struct run *r)
{
	struct span p = any_span(r);
	struct model_rules rules = {.any_size = true};
	uint32_t lg2 = test_vm_lg2(&r->vm, (uint32_t)test_below(&r->rand, 2));
	uint64_t most = 0;
	bool done = served(r, "tdp_split", tdp_split(r->vm.mm, p.as_id, p.range, lg2), TDP_OK);

	model_observe(&r->m, p.as_id, p.gfn, p.gfn + p.pages, &rules);
	model_each(&r->m, p.as_id, p.gfn, p.gfn + p.pages, largest, &most);
	if ((done && most << TDP_PAGE_LG2 > (uint64_t)1 << lg2) || rules.grown)
		model_complain(&r->m, "split to lg2 %u left %llu pages in one, %llu grew", lg2,
			       (ull)most, (ull)rules.grown);
}

static void op_collapse(struct run *r)
{
	struct span p = any_span(r);
	struct model_rules rules = {.any_size = true};
	uint32_t flags = test_one_in(&r->rand, 4) ? TDP_COLLAPSE_ZAP : 0;
	uint64_t collapsed = ~(uint64_t)0;

	rules.may_unmap = flags;
	expect(r, "tdp_collapse", tdp_collapse(r->vm.mm, p.as_id, p.range, flags, &collapsed),
	       TDP_OK);
	model_observe(&r->m, p.as_id, p.gfn, p.gfn + p.pages, &rules);
	if (!flags && (collapsed < rules.grown || (collapsed && !rules.grown)))
		model_complain(&r->m, "collapsed %llu, but %llu leaves have grown", (ull)collapsed,
			       (ull)rules.grown);
}

static void op_max_lg2(struct run *r)
{
	uint32_t as_id, lg2 = 0;
	uint64_t gfn = any_gfn(r, &as_id), pages;
	struct model_slot *s = model_slot_at(&r->m, as_id, gfn);
	int status = tdp_max_lg2(r->vm.mm, as_id, gfn << TDP_PAGE_LG2, &lg2);

	if (!s) {
		expect(r, "tdp_max_lg2 without slot", status, TDP_ENOENT);
		return;
	}
	expect(r, "tdp_max_lg2", status, TDP_OK);
	pages = (uint64_t)1 << (lg2 - TDP_PAGE_LG2);
	if (lg2 < TDP_PAGE_LG2 || lg2 > test_vm_max_lg2(&r->vm) || (gfn & ~(pages - 1)) < s->gfn ||
	    (gfn & ~(pages - 1)) + pages > s->gfn + s->pages ||
	    (lg2 > TDP_PAGE_LG2 &&
	     (s->log != TDP_LOG_OFF || (s->flags & TDP_SLOT_FORCE_4K) ||
	      (s->tracked && s->track[gfn - s->gfn]) || (s->owned && s->owner[gfn - s->gfn]))))
		model_complain(&r->m, "gfn %#llx: the largest page is %u", (ull)gfn, lg2);
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations on memslots: add, remove, move, flags, write tracking, failing backing. */
#ifndef TESTS_MODEL_OPS_SLOT_H
#define TESTS_MODEL_OPS_SLOT_H

#include "run.h"

/* Output addresses: above all of this process; 8 TiB for each memory that hands out new ones. */
#define PA_BACKING(i) (((uint64_t)1 << 47) + ((uint64_t)(i) << 43))
#define PA_LINEAR(i) (((uint64_t)1 << 47) + ((uint64_t)13 << 43) + ((uint64_t)(i) << 38))

static bool overlaps(const struct run *r, const struct model_slot *but, uint32_t as_id,
		     uint64_t gfn, uint64_t pages)
{
	uint32_t i;

	for (i = 0; i < MODEL_SLOTS; i++) {
		const struct model_slot *s = &r->m.slot[i];

		if (s != but && s->live && s->as_id == as_id && gfn < s->gfn + s->pages &&
		    s->gfn < gfn + pages)
			return true;
	}
	return false;
}

static void any_place(struct run *r, uint64_t *gfn, uint64_t *pages)
{
	const struct model_window *w = &r->m.win[test_below(&r->rand, r->m.windows)];
	uint64_t block = (uint64_t)1 << r->vm.info.index_lg2, at = 0, n = w->pages;

	if (!test_one_in(&r->rand, 3)) {
		at = test_below(&r->rand, w->pages);
		n = 1 + test_below(&r->rand, 16 * block);
		if (!test_one_in(&r->rand, 3)) {
			at &= ~(block - 1);
			n = (n + block - 1) & ~(block - 1);
		}
	}
	*gfn = w->gfn + at;
	*pages = n < w->pages - at ? n : w->pages - at;
}

static uint32_t any_prot(struct run *r)
{
	switch (test_below(&r->rand, r->by_mode ? 18 : 12)) {
	case 0: return TDP_R;
	case 1: return TDP_R | TDP_X;
	case 2: return TDP_R | TDP_W;
	case 3: return TDP_RWX | TDP_MT_UC;
	case 4: return TDP_RWX | TDP_MT_WT | TDP_SW(0) | TDP_SW(3);
	case 5: return TDP_RWX | TDP_SW(1) | TDP_SW(2);
	case 12: return TDP_R | TDP_W | TDP_XS;
	case 13: return TDP_R | TDP_W | TDP_XU;
	case 14: return TDP_R | TDP_XS | TDP_SW(2);
	case 15: return TDP_R | TDP_XU;
	case 16: return TDP_XS;
	case 17: return TDP_XU;
	default: return TDP_RWX;
	}
}

static bool make_backing(struct run *r, uint32_t i, struct model_slot *s,
			 struct tdp_slot_desc *desc)
{
	struct test_backing *b = &r->backing[i];
	uint32_t lg2 = TDP_PAGE_LG2 + r->vm.info.index_lg2 * (uint32_t)test_below(&r->rand, 4);

	if (lg2 > test_vm_max_lg2(&r->vm))
		lg2 = test_vm_max_lg2(&r->vm);
	if (test_backing_init(b, &r->vm.env, s->gfn << TDP_PAGE_LG2, s->pages << TDP_PAGE_LG2,
			      PA_BACKING(i), s->prot, lg2) != TDP_OK)
		abort();
	if (test_one_in(&r->rand, 4))
		test_backing_no_release(b);
	r->has_backing[i] = true;
	*desc = test_backing_slot(b, s->as_id, s->flags);
	s->backing = b;
	return true;
}

static void drop_backing(struct run *r, uint32_t i)
{
	if (r->has_backing[i])
		test_backing_fini(&r->backing[i]);
	r->has_backing[i] = false;
}

static void op_slot_add(struct run *r)
{
	struct tdp_slot_desc desc = {0};
	struct model_slot s = {0};
	uint32_t i = 0, given = TDP_RWX;
	int status, want;

	while (i < MODEL_SLOTS && r->m.slot[i].live)
		i++;
	if (i == MODEL_SLOTS)
		return;
	any_place(r, &s.gfn, &s.pages);
	s.as_id = test_one_in(&r->rand, 3);
	s.live = true;
	s.flags = test_one_in(&r->rand, 8) ? TDP_SLOT_READONLY : 0;
	s.flags |= test_one_in(&r->rand, 8) ? TDP_SLOT_FORCE_4K : 0;
	s.prot = any_prot(r);
	if (test_one_in(&r->rand, 2)) {
		make_backing(r, i, &s, &desc);
	} else {
		s.pfn = (PA_LINEAR(i) >> TDP_PAGE_LG2) + (s.gfn & (((uint64_t)1 << 24) - 1));
		if (test_one_in(&r->rand, 6))
			s.pfn += 1 + test_below(&r->rand, 3);
		given = s.prot == TDP_RWX && test_one_in(&r->rand, 2) ? 0 : s.prot;
		desc.size = (uint32_t)sizeof(desc);
		desc.flags = s.flags;
		desc.gpa = bytes(s.gfn, s.pages);
		desc.pa = s.pfn << TDP_PAGE_LG2;
		desc.prot = given;
		desc.as_id = s.as_id;
	}
	want = overlaps(r, NULL, s.as_id, s.gfn, s.pages) ? TDP_EEXIST : TDP_OK;
	status = tdp_slot_add(r->vm.mm, &desc, &s.id);
	if (!served(r, "tdp_slot_add", status, want) || status != TDP_OK) {
		drop_backing(r, i);
		return;
	}
	s.track = calloc(s.pages, sizeof(*s.track));
	s.owner = calloc(s.pages, sizeof(*s.owner));
	if (!s.track || !s.owner)
		abort();
	r->m.slot[i] = s;
}

static void gone(struct run *r, uint32_t as_id, uint64_t gfn, uint64_t pages)
{
	struct model_rules rules = {.unmap_gfn = gfn, .unmap_end = gfn + pages};

	model_observe(&r->m, as_id, gfn, gfn + pages, &rules);
}

/* TDP_MM_SLOT_ZAP_ALL: changes of slots may take all roots with them. */
static void all_may_be_gone(struct run *r)
{
	struct model_rules rules = {.may_unmap = true};
	uint32_t as_id;

	if (r->vm.info.flags & TDP_MM_SLOT_ZAP_ALL)
		model_roots_gone(&r->m);
	for (as_id = 0; as_id < MODEL_AS && (r->vm.info.flags & TDP_MM_SLOT_ZAP_ALL); as_id++)
		model_observe(&r->m, as_id, 0, ~(uint64_t)0, &rules);
}

static void slot_remove(struct run *r, uint32_t i)
{
	struct model_slot *s = &r->m.slot[i];

	if (!served(r, "tdp_slot_remove", tdp_slot_remove(r->vm.mm, s->id), TDP_OK))
		return;
	expect(r, "tdp_slot_remove again", tdp_slot_remove(r->vm.mm, s->id), TDP_ENOENT);
	s->live = false;
	gone(r, s->as_id, s->gfn, s->pages);
	all_may_be_gone(r);
	model_log_stop(s);
	free(s->track);
	free(s->owner);
	s->track = NULL;
	s->owner = NULL;
	drop_backing(r, i);
}

static void op_slot_remove(struct run *r)
{
	struct model_slot *s = any_slot(r);

	if (s)
		slot_remove(r, (uint32_t)(s - r->m.slot));
}

static void op_slot_move(struct run *r)
{
	struct model_slot *s = any_slot(r);
	uint64_t gfn, pages, old;
	int want;

	if (!s || s->backing)
		return;
	any_place(r, &gfn, &pages);
	if (pages < s->pages || (gfn < s->gfn + s->pages && s->gfn < gfn + s->pages))
		return;
	want = overlaps(r, s, s->as_id, gfn, s->pages) ? TDP_EEXIST
	       : s->tracked || s->owned                ? TDP_EBUSY
						       : TDP_OK;
	if (!served(r, "tdp_slot_move", tdp_slot_move(r->vm.mm, s->id, gfn << TDP_PAGE_LG2),
		    want) ||
	    want != TDP_OK)
		return;
	old = s->gfn;
	s->gfn = gfn;
	gone(r, s->as_id, old, s->pages);
	gone(r, s->as_id, gfn, s->pages);
	all_may_be_gone(r);
}

static void op_slot_flags(struct run *r)
{
	struct model_slot *s = any_slot(r);
	struct model_rules rules = {.may_unmap = true, .any_size = true};

	if (!s)
		return;
	s->flags = test_one_in(&r->rand, 4) ? TDP_SLOT_READONLY : 0;
	s->flags |= test_one_in(&r->rand, 4) ? TDP_SLOT_FORCE_4K : 0;
	expect(r, "tdp_slot_set_flags", tdp_slot_set_flags(r->vm.mm, s->id, s->flags), TDP_OK);
	if (s->flags & TDP_SLOT_READONLY)
		model_clear(&r->m, s->as_id, s->gfn, s->gfn + s->pages, LEAF_W);
	model_observe(&r->m, s->as_id, s->gfn, s->gfn + s->pages, &rules);
	all_may_be_gone(r);
	if (rules.grown)
		model_complain(&r->m, "%llu leaves have grown", (ull)rules.grown);
}

static void op_slot_find(struct run *r)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc)};
	uint32_t as_id, id = 0;
	uint64_t gfn = any_gfn(r, &as_id);
	struct model_slot *s = model_slot_at(&r->m, as_id, gfn);
	int status = tdp_slot_find(r->vm.mm, as_id, gfn << TDP_PAGE_LG2, &id, &desc);

	expect(r, "tdp_slot_find", status, s ? TDP_OK : TDP_ENOENT);
	if (s &&
	    (id != s->id || desc.gpa.start != s->gfn << TDP_PAGE_LG2 || desc.flags != s->flags ||
	     desc.gpa.size != s->pages << TDP_PAGE_LG2 || desc.as_id != s->as_id))
		model_complain(&r->m, "gfn %#llx found in slot %u, is in %u", (ull)gfn, id, s->id);
}

static void op_track(struct run *r)
{
	struct span p = any_span(r);
	struct model_rules rules = {.any_size = true};
	bool on = !test_one_in(&r->rand, 3), hole = false, below = false;
	int want, status;
	uint64_t i;

	if (p.pages > 2048)
		return;
	for (i = 0; i < p.pages; i++) {
		struct model_slot *s = model_slot_at(&r->m, p.as_id, p.gfn + i);

		hole |= !s;
		below |= s && !on && !s->track[p.gfn + i - s->gfn];
	}
	want = hole ? TDP_ENOENT : below ? TDP_ENOSPC : TDP_OK;
	status = tdp_write_track(r->vm.mm, p.as_id, p.range, on);
	if (!(hole && below && status == TDP_ENOSPC)) /* both are true: either may be said */
		served(r, "tdp_write_track", status, want);
	if (status == TDP_ENOMEM)
		want = status;
	for (i = 0; want == TDP_OK && i < p.pages; i++) {
		struct model_slot *s = model_slot_at(&r->m, p.as_id, p.gfn + i);
		uint16_t *count = &s->track[p.gfn + i - s->gfn];

		s->tracked += on && !*count;
		*count = (uint16_t)(*count + (on ? 1 : -1));
		s->tracked -= !on && !*count;
	}
	model_observe(&r->m, p.as_id, p.gfn, p.gfn + p.pages, &rules);
	if (want == TDP_OK && on)
		model_clear(&r->m, p.as_id, p.gfn, p.gfn + p.pages, LEAF_W);
}

static void op_owner(struct run *r)
{
	struct span p = any_span(r);
	struct model_rules rules = {.any_size = true};
	uint32_t owner = test_one_in(&r->rand, 3) ? 0 : 1 + (uint32_t)test_below(&r->rand, 255);
	uint32_t said = ~0u;
	bool hole = false;
	uint64_t i, first, n;

	if (p.pages > 2048)
		return;
	for (i = 0; i < p.pages; i++)
		hole |= !model_slot_at(&r->m, p.as_id, p.gfn + i);
	if (!served(r, "tdp_set_owner", tdp_set_owner(r->vm.mm, p.as_id, p.range, owner),
		    hole ? TDP_ENOENT : TDP_OK) ||
	    hole) {
		model_observe(&r->m, p.as_id, p.gfn, p.gfn + p.pages, &rules);
		return;
	}
	for (i = 0; i < p.pages; i++) {
		struct model_slot *s = model_slot_at(&r->m, p.as_id, p.gfn + i);
		uint8_t *now = &s->owner[p.gfn + i - s->gfn];

		s->owned += (owner != 0) - (uint64_t)(*now != 0);
		*now = (uint8_t)owner;
	}
	if (owner) { /* huge pages that are only partly inside go as a whole */
		model_leaf_of(&r->m, p.as_id, p.gfn, &first, &n);
		rules.unmap_gfn = first;
		model_leaf_of(&r->m, p.as_id, p.gfn + p.pages - 1, &first, &n);
		rules.unmap_end = first + n;
	}
	model_observe(&r->m, p.as_id, p.gfn, p.gfn + p.pages, &rules);
	expect(r, "tdp_get_owner", tdp_get_owner(r->vm.mm, p.as_id, p.range.start, &said), TDP_OK);
	if (said != owner)
		model_complain(&r->m, "gfn %#llx belongs to %u, not %u", (ull)p.gfn, said, owner);
}

static void op_fail(struct run *r)
{
	struct model_slot *s = any_slot(r);
	uint64_t at;

	if (!s || !s->backing)
		return;
	if (test_one_in(&r->rand, 2)) {
		test_backing_fail(s->backing, bytes(s->gfn, s->pages), false);
		return;
	}
	at = test_below(&r->rand, s->pages);
	test_backing_fail(s->backing, bytes(s->gfn + at, 1), true);
}

#endif

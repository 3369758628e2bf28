/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls that must be refused: arguments that were right until something odd was done to them. The status is one
 * that the header gives for what is wrong (any of them if more than one thing is); what is mapped stays, which the
 * comparisons after it see.
 */
#ifndef TESTS_MODEL_OPS_BAD_H
#define TESTS_MODEL_OPS_BAD_H

#include "run.h"

struct odd {
	uint32_t as_id, flags;
	struct tdp_range range;
	bool einval, erange; /* what may be said about them */
};

static bool may_say(const struct odd *o, int status)
{
	return (o->einval && status == TDP_EINVAL) || (o->erange && status == TDP_ERANGE);
}

static void refused(struct run *r, const char *what, const struct odd *o, int got)
{
	if (!may_say(o, got))
		model_complain(&r->m, "%s(as %u, %#llx + %#llx, flags %#x): %d (%s), should be%s%s",
			       what, o->as_id, (ull)o->range.start, (ull)o->range.size, o->flags,
			       got, got < 0 ? tdp_status_name(got) : "",
			       o->einval ? " TDP_EINVAL" : "", o->erange ? " TDP_ERANGE" : "");
}

/* ---- ranges ---------------------------------------------------------------------------------- */

static void odd_range(struct run *r, struct odd *o)
{
	uint64_t top = test_vm_size(&r->vm), start, size;
	struct span p = any_span(r);

	o->as_id = p.as_id;
	start = p.range.start;
	size = p.range.size;
	switch (test_below(&r->rand, 8)) {
	case 0: start += 1 + test_below(&r->rand, TEST_PAGE - 1); break;
	case 1: size -= 1 + test_below(&r->rand, TEST_PAGE - 1); break;
	case 2: size = 0; break;
	case 3: start += top; break;
	case 4: size = top - start + TEST_PAGE; break;
	case 5: size = 0 - start; break;
	case 6: start = 0 - TEST_PAGE * (1 + test_below(&r->rand, 4)); break;
	default: break;
	}
	o->range.start = start;
	o->range.size = size;
	o->einval = !size || (start | size) & (TEST_PAGE - 1);
	o->erange = start >= top || size > top - start;
}

static int ignore_visit(void *arg, const struct tdp_visit *visit)
{
	(void)arg;
	(void)visit;
	return 0;
}

static int ignore_line(void *arg, const char *line)
{
	(void)arg;
	(void)line;
	return 0;
}

static int odd_zap(struct run *r, const struct odd *o)
{
	return tdp_zap(r->vm.mm, o->as_id, o->range, o->flags);
}

static int odd_populate(struct run *r, const struct odd *o)
{
	return tdp_populate(r->vm.mm, o->as_id, o->range, o->flags, NULL);
}

static int odd_compact(struct run *r, const struct odd *o)
{
	return tdp_compact(r->vm.mm, o->as_id, o->range);
}

static int odd_protect(struct run *r, const struct odd *o)
{
	return tdp_write_protect(r->vm.mm, o->as_id, o->range);
}

static int odd_track(struct run *r, const struct odd *o)
{
	return tdp_write_track(r->vm.mm, o->as_id, o->range, true);
}

static int odd_owner(struct run *r, const struct odd *o)
{
	return tdp_set_owner(r->vm.mm, o->as_id, o->range, 1);
}

static int odd_age(struct run *r, const struct odd *o)
{
	return tdp_age(r->vm.mm, o->as_id, o->range, NULL);
}

static int odd_test_age(struct run *r, const struct odd *o)
{
	return tdp_test_age(r->vm.mm, o->as_id, o->range);
}

static int odd_age_bitmap(struct run *r, const struct odd *o)
{
	/* Whatever the range: were it taken, nobody would write there. */
	return tdp_age_bitmap(r->vm.mm, o->as_id, o->range, true, r->bitmap, 0);
}

static int odd_split(struct run *r, const struct odd *o)
{
	return tdp_split(r->vm.mm, o->as_id, o->range, TDP_PAGE_LG2);
}

static int odd_collapse(struct run *r, const struct odd *o)
{
	return tdp_collapse(r->vm.mm, o->as_id, o->range, o->flags, NULL);
}

static int odd_walk(struct run *r, const struct odd *o)
{
	return tdp_walk(r->vm.mm, o->as_id, o->range, TDP_WALK_LEAF | o->flags, ignore_visit, NULL);
}

static int odd_dump(struct run *r, const struct odd *o)
{
	return tdp_dump(r->vm.mm, o->as_id, o->range, ignore_line, NULL);
}

static int odd_begin(struct run *r, const struct odd *o)
{
	return tdp_invalidate_begin(r->vm.mm, o->range);
}

static int odd_end(struct run *r, const struct odd *o)
{
	return tdp_invalidate_end(r->vm.mm, o->range);
}

#define ALL_AS 0x1u /* takes TDP_AS_ALL */
#define NO_AS 0x2u  /* takes no address space */
#define NO_FLAGS 0x4u

static const struct {
	const char *name;
	int (*fn)(struct run *r, const struct odd *o);
	uint32_t what, flags; /* flags that it knows */
} range_calls[] = {
	{"tdp_zap", odd_zap, ALL_AS,
	 TDP_ZAP_LAZY | TDP_ZAP_STRICT | TDP_ZAP_KEEP_YOUNG | TDP_ZAP_NOYIELD},
	{"tdp_populate", odd_populate, 0,
	 TDP_POPULATE_STRICT | TDP_POPULATE_READ | TDP_POPULATE_YOUNG},
	{"tdp_compact", odd_compact, ALL_AS | NO_FLAGS, 0},
	{"tdp_write_protect", odd_protect, ALL_AS | NO_FLAGS, 0},
	{"tdp_write_track", odd_track, NO_FLAGS, 0},
	{"tdp_set_owner", odd_owner, NO_FLAGS, 0},
	{"tdp_age", odd_age, ALL_AS | NO_FLAGS, 0},
	{"tdp_test_age", odd_test_age, ALL_AS | NO_FLAGS, 0},
	{"tdp_age_bitmap", odd_age_bitmap, ALL_AS | NO_FLAGS, 0},
	{"tdp_split", odd_split, ALL_AS | NO_FLAGS, 0},
	{"tdp_collapse", odd_collapse, ALL_AS, TDP_COLLAPSE_ZAP},
	{"tdp_walk", odd_walk, 0,
	 TDP_WALK_LEAF | TDP_WALK_TABLE_PRE | TDP_WALK_TABLE_POST | TDP_WALK_MMIO},
	{"tdp_dump", odd_dump, NO_FLAGS, 0},
	{"tdp_invalidate_begin", odd_begin, NO_AS | NO_FLAGS, 0},
	{"tdp_invalidate_end", odd_end, NO_AS | NO_FLAGS, 0},
};

static void bad_range(struct run *r)
{
	size_t i = (size_t)test_below(&r->rand, ARRAY_LEN(range_calls));
	uint32_t what = range_calls[i].what;
	struct odd o = {0};

	odd_range(r, &o);
	if (test_one_in(&r->rand, 4)) {
		o.as_id = test_one_in(&r->rand, 2)
				  ? TDP_AS_ALL
				  : TDP_AS_MAX + (uint32_t)test_below(&r->rand, ~0u - TDP_AS_MAX);
		o.einval |= !(what & NO_AS) && !(o.as_id == TDP_AS_ALL && what & ALL_AS);
	}
	if (!(what & NO_FLAGS) && test_one_in(&r->rand, 2)) {
		o.flags = 1u << test_below(&r->rand, 32);
		o.einval |= o.flags & ~range_calls[i].flags;
	}
	if (o.einval || o.erange) /* the others are of the other operations */
		refused(r, range_calls[i].name, &o, range_calls[i].fn(r, &o));
}

/* ---- slots ----------------------------------------------------------------------------------- */

/* A number that no slot has (any more, or yet). */
static void bad_slot_id(struct run *r)
{
	struct tdp_mm *mm = r->vm.mm;
	uint32_t id = (uint32_t)test_below(&r->rand, test_one_in(&r->rand, 4) ? ~0u : 64), i;

	for (i = 0; i < MODEL_SLOTS; i++)
		if (r->m.slot[i].live && r->m.slot[i].id == id)
			return;
	expect(r, "tdp_slot_remove(none)", tdp_slot_remove(mm, id), TDP_ENOENT);
	expect(r, "tdp_slot_move(none)", tdp_slot_move(mm, id, 0), TDP_ENOENT);
	expect(r, "tdp_slot_set_flags(none)", tdp_slot_set_flags(mm, id, 0), TDP_ENOENT);
	expect(r, "tdp_dirty_log(none)", tdp_dirty_log(mm, id, TDP_LOG_AUTO), TDP_ENOENT);
	expect(r, "tdp_dirty_harvest(none)", tdp_dirty_harvest(mm, id, 0, r->bitmap, 1),
	       TDP_ENOENT);
	expect(r, "tdp_dirty_get(none)", tdp_dirty_get(mm, id, 0, r->bitmap, 1), TDP_ENOENT);
	expect(r, "tdp_dirty_clear(none)", tdp_dirty_clear(mm, id, 0, 1), TDP_ENOENT);
	expect(r, "tdp_dirty_clear_mask(none)", tdp_dirty_clear_mask(mm, id, 0, 1), TDP_ENOENT);
	expect(r, "tdp_dirty_mark(none)", tdp_dirty_mark(mm, id, 0, 1), TDP_ENOENT);
}

/* Windows of a log that are odd, or that have no log. */
static void bad_window(struct run *r)
{
	struct model_slot *s = any_slot(r);
	struct tdp_mm *mm = r->vm.mm;
	uint64_t words, past, odd = 1 + test_below(&r->rand, 63);
	int off;

	if (!s)
		return;
	off = s->log == TDP_LOG_OFF ? TDP_ENOENT : TDP_OK;
	words = (s->pages + 63) / 64;
	past = words + test_below(&r->rand, 4);
	expect(r, "tdp_dirty_harvest(odd page)", tdp_dirty_harvest(mm, s->id, odd, r->bitmap, 1),
	       off ? off : TDP_EINVAL);
	expect(r, "tdp_dirty_get(no words)", tdp_dirty_get(mm, s->id, 0, r->bitmap, 0),
	       off ? off : TDP_EINVAL);
	expect(r, "tdp_dirty_harvest(behind)",
	       tdp_dirty_harvest(mm, s->id, 64 * past, r->bitmap, 1), off ? off : TDP_ERANGE);
	expect(r, "tdp_dirty_get(too many)",
	       tdp_dirty_get(mm, s->id, 0, r->bitmap, (size_t)past + 1), off ? off : TDP_ERANGE);
	expect(r, "tdp_dirty_clear(behind)", tdp_dirty_clear(mm, s->id, s->pages - 1, 1 + odd),
	       off ? off : TDP_ERANGE);
	expect(r, "tdp_dirty_clear(wrapping)", tdp_dirty_clear(mm, s->id, odd, 0 - odd),
	       off ? off : TDP_ERANGE);
	expect(r, "tdp_dirty_clear_mask(odd page)", tdp_dirty_clear_mask(mm, s->id, odd, 1),
	       TDP_EINVAL);
	expect(r, "tdp_dirty_clear_mask(behind)", tdp_dirty_clear_mask(mm, s->id, 64 * past, 1),
	       off ? off : TDP_ERANGE);
	expect(r, "tdp_dirty_mark(behind)", tdp_dirty_mark(mm, s->id, s->pages, odd), TDP_ERANGE);
	expect(r, "tdp_dirty_mark(no pages)", tdp_dirty_mark(mm, s->id, 0, 0), TDP_EINVAL);
	expect(r, "tdp_dirty_log(no mode)", tdp_dirty_log(mm, s->id, 4 + (uint32_t)odd),
	       TDP_EINVAL);
	expect(r, "tdp_dirty_log(no flag)", tdp_dirty_log(mm, s->id, 0x1000u << odd % 20),
	       TDP_EINVAL);
	expect(r, "tdp_slot_set_flags(no flag)", tdp_slot_set_flags(mm, s->id, 4u << odd % 29),
	       TDP_EINVAL);
	expect(r, "tdp_slot_move(odd)", tdp_slot_move(mm, s->id, odd), TDP_EINVAL);
	expect(r, "tdp_slot_move(too high)", tdp_slot_move(mm, s->id, test_vm_size(&r->vm)),
	       TDP_ERANGE);
}

static void bad_desc(struct run *r)
{
	struct {
		struct tdp_slot_desc d;
		uint64_t more;
	} slot = {{0}, 0};
	static const struct tdp_backing_ops no_resolve = {.size = sizeof(no_resolve)};
	struct odd o = {0};
	uint32_t id = 0x5a5a5a5a;
	int want = TDP_EINVAL, got;

	odd_range(r, &o);
	slot.d.size = (uint32_t)sizeof(slot.d);
	slot.d.gpa = o.range;
	if (o.einval || o.erange) {
		refused(r, "tdp_slot_add", &o, tdp_slot_add(r->vm.mm, &slot.d, &id));
		return;
	}
	switch (test_below(&r->rand, 9)) {
	case 0: slot.d.size = (uint32_t)test_below(&r->rand, 4); break;
	case 1:
		slot.d.size = (uint32_t)sizeof(slot);
		slot.more = 1;
		want = TDP_E2BIG;
		break;
	case 2: slot.d.flags = 4u << test_below(&r->rand, 30); break;
	case 3: slot.d.as_id = TDP_AS_MAX + (uint32_t)test_below(&r->rand, 64); break;
	case 4: slot.d.pa = 1 + test_below(&r->rand, TEST_PAGE - 1); break;
	case 5:
		slot.d.pa = (uint64_t)1 << 52; /* no format has more */
		want = TDP_ERANGE;
		break;
	case 6: slot.d.prot = TDP_R | 1u << (12 + test_below(&r->rand, 20)); break;
	case 7: slot.d.backing = &no_resolve; break;
	default: slot.d.backing_start = 0 - TEST_PAGE; want = TDP_ERANGE;
	}
	got = tdp_slot_add(r->vm.mm, &slot.d, &id);
	expect(r, "tdp_slot_add(odd)", got, want);
	if (id != 0x5a5a5a5a)
		model_complain(&r->m, "tdp_slot_add failed and wrote an id");
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void bad_fault(struct run *r)
{
	struct {
		struct tdp_fault f;
		uint64_t more;
	} fault = {{.size = sizeof(struct tdp_fault), .access = TDP_R}, 0};
	struct tdp_fault_result result = {.size = (uint32_t)sizeof(result), .slot = 0x5a5a5a5a};
	uint32_t as_id;
	int want = TDP_EINVAL;

	fault.f.gpa = any_gfn(r, &as_id) << TDP_PAGE_LG2;
	switch (test_below(&r->rand, 6)) {
	case 0: fault.f.flags = 0x80u << test_below(&r->rand, 25); break;
	case 1: fault.f.access = 0; break;
	case 2: fault.f.access |= 0x10u << test_below(&r->rand, 28); break;
	case 3: fault.f.reserved = 1 + (uint32_t)test_below(&r->rand, 255); break;
	case 4:
		fault.f.size = (uint32_t)sizeof(fault);
		fault.more = 1;
		want = TDP_E2BIG;
		break;
	default:
		if (test_one_in(&r->rand, 2))
			fault.f.flags = TDP_FAULT_SIZE;
		else
			fault.f.gpa += test_vm_size(&r->vm);
		want = TDP_ERANGE;
	}
	expect(r, "tdp_fault(odd)", tdp_fault(r->vm.cpu[0].vcpu, &fault.f, &result), want);
	if (result.slot != 0x5a5a5a5a)
		model_complain(&r->m, "a refused fault wrote a result");
}

static void bad_rest(struct run *r)
{
	struct span p = any_span(r);
	struct tdp_mm *mm = r->vm.mm;
	struct tdp_root_view view = {.size = (uint32_t)sizeof(view)};
	struct tdp_root *root;
	uint32_t odd = (uint32_t)test_below(&r->rand, 256), level, real = 0;
	tdp_role_t bit = (tdp_role_t)1
			 << (odd % 56 < 8 ? odd % 56 : odd % 56 + 8); /* not of as_id */
	size_t words = (size_t)((p.pages + 63) / 64);

	for (level = 0; level < TDP_LEVELS_MAX; level++)
		real |= r->vm.info.leaf_levels & 1u << level && test_vm_lg2(&r->vm, level) == odd;
	if (!real)
		expect(r, "tdp_split(no size)", tdp_split(mm, p.as_id, p.range, odd), TDP_EINVAL);
	expect(r, "tdp_age_bitmap(words)",
	       tdp_age_bitmap(mm, p.as_id, p.range, true, r->bitmap, words + 1), TDP_EINVAL);
	expect(r, "tdp_set_owner(who?)", tdp_set_owner(mm, p.as_id, p.range, 256 + odd),
	       TDP_EINVAL);
	expect(r, "tdp_vcpu_set_as", tdp_vcpu_set_as(r->vm.cpu[0].vcpu, TDP_AS_MAX + odd),
	       TDP_ERANGE);
	expect(r, "tdp_zap_table(none)", tdp_zap_table(mm, p.range.start | odd | 1), TDP_ENOENT);
	expect(r, "tdp_root_get(none)", tdp_root_get(mm, tdp_role_root(mm, p.as_id) ^ bit, &root),
	       TDP_EINVAL);
	/* An old one may be torn already, and no table any more. */
	if (r->held[0] && !tdp_root_is_invalid(r->held[0]) &&
	    expect(r, "tdp_root_view", tdp_root_view(mm, r->held[0], &view), TDP_OK))
		expect(r, "tdp_zap_table(root)", tdp_zap_table(mm, view.pa), TDP_EINVAL);
}

static void op_bad(struct run *r)
{
	switch (test_below(&r->rand, 10)) {
	case 0: bad_slot_id(r); break;
	case 1: bad_window(r); break;
	case 2:
	case 3: bad_desc(r); break;
	case 4: bad_fault(r); break;
	case 5: bad_rest(r); break;
	default: bad_range(r);
	}
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Input that no call may accept: not aligned, empty, wrapping, beyond the width, in no address
 * space, with unknown flags. Each gets its status and changes nothing: the tables are the same
 * words afterwards.
 */
#include "steps.h"

#define GPA GIB
#define UNTOUCHED UINT64_C(0x5a5a5a5a5a5a5a5a)

/* What calls write through: must stay UNTOUCHED when they fail. */
struct outs {
	uint64_t number;
	uint64_t bits[4];
};

static uint32_t slot_id; /* of the memory at GPA */

static int never(void *arg, const struct tdp_visit *visit)
{
	(void)arg;
	fail_msg("visited %#llx", (unsigned long long)visit->gpa);
	return 0;
}

static int never_line(void *arg, const char *line)
{
	(void)arg;
	fail_msg("dumped %s", line);
	return 0;
}

static int never_range(void *arg, uint32_t as_id, struct tdp_range range)
{
	(void)arg;
	(void)as_id;
	fail_msg("range at %#llx", (unsigned long long)range.start);
	return 0;
}

/* ---- calls that take a range ----------------------------------------------------------------- */

typedef int range_call(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o);

static int call_zap(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	(void)o;
	return tdp_zap(mm, as_id, r, 0);
}

static int call_zap_lazy(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	(void)o;
	return tdp_zap(mm, as_id, r, TDP_ZAP_LAZY);
}

static int call_populate(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	return tdp_populate(mm, as_id, r, 0, &o->number);
}

static int call_compact(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	(void)o;
	return tdp_compact(mm, as_id, r);
}

static int call_write_protect(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	(void)o;
	return tdp_write_protect(mm, as_id, r);
}

static int call_track(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	(void)o;
	return tdp_write_track(mm, as_id, r, true);
}

static int call_owner(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	(void)o;
	return tdp_set_owner(mm, as_id, r, 1);
}

static int call_age(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	return tdp_age(mm, as_id, r, &o->number);
}

static int call_test_age(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	(void)o;
	return tdp_test_age(mm, as_id, r);
}

static int call_age_bitmap(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	return tdp_age_bitmap(mm, as_id, r, true, o->bits, (r.size / TEST_PAGE + 63) / 64);
}

static int call_split(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	(void)o;
	return tdp_split(mm, as_id, r, 12);
}

static int call_collapse(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	return tdp_collapse(mm, as_id, r, 0, &o->number);
}

static int call_walk(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	return tdp_walk(mm, as_id, r, TDP_WALK_LEAF, never, o);
}

static int call_dump(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	return tdp_dump(mm, as_id, r, never_line, o);
}

static int call_begin(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	(void)as_id;
	(void)o;
	return tdp_invalidate_begin(mm, r);
}

static int call_end(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	(void)as_id;
	(void)o;
	return tdp_invalidate_end(mm, r);
}

static int call_slot_add(struct tdp_mm *mm, uint32_t as_id, struct tdp_range r, struct outs *o)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc), .gpa = r, .as_id = as_id};
	uint32_t id = (uint32_t)o->number;
	int ret = tdp_slot_add(mm, &desc, &id);

	assert_int_equal(id, (uint32_t)o->number);
	return ret;
}

/* Which as_id is refused besides those that are too large. */
#define ONE_AS 0x1u /* TDP_AS_ALL */
#define NO_AS 0x2u  /* takes none */

static const struct {
	const char *name;
	range_call *fn;
	uint32_t flags;
} range_calls[] = {
	{"zap", call_zap, 0},
	{"zap lazily", call_zap_lazy, 0},
	{"populate", call_populate, ONE_AS},
	{"compact", call_compact, 0},
	{"write_protect", call_write_protect, 0},
	{"write_track", call_track, ONE_AS},
	{"set_owner", call_owner, ONE_AS},
	{"age", call_age, 0},
	{"test_age", call_test_age, 0},
	{"age_bitmap", call_age_bitmap, 0},
	{"split", call_split, 0},
	{"collapse", call_collapse, 0},
	{"walk", call_walk, ONE_AS},
	{"dump", call_dump, ONE_AS},
	{"invalidate_begin", call_begin, NO_AS},
	{"invalidate_end", call_end, NO_AS},
	{"slot_add", call_slot_add, ONE_AS},
};

static void open_mapped(struct test_vm *vm, void **state)
{
	vm_up(vm, state, NULL);
	slot_id = add_slot(vm, 0, GPA, 4 * block_of(vm), SLOT_PA, 0);
	use(vm, 0, GPA, TDP_W);
	use(vm, 0, GPA + block_of(vm), TDP_W);
	assert_int_equal(tdp_split(vm->mm, 0, range_of(GPA, TEST_PAGE), 12), TDP_OK);
	stopped(vm, 0, GPA - TEST_PAGE, TDP_R, TDP_FAULT_MMIO);
}

static void refused(struct test_vm *vm, size_t i, uint32_t as_id, struct tdp_range r, int status)
{
	struct outs o = {UNTOUCHED, {UNTOUCHED, UNTOUCHED, UNTOUCHED, UNTOUCHED}};
	int got = range_calls[i].fn(vm->mm, as_id, r, &o);

	if (got != status)
		fail_msg("%s(as %u, %#llx + %#llx): %s, not %s", range_calls[i].name, as_id,
			 (unsigned long long)r.start, (unsigned long long)r.size,
			 tdp_status_name(got), tdp_status_name(status));
	assert_int_equal(o.number, UNTOUCHED);
	for (size_t w = 0; w < ARRAY_LEN(o.bits); w++)
		assert_int_equal(o.bits[w], UNTOUCHED);
}

static void ranges(void **state)
{
	struct test_dump before;
	struct test_vm vm;
	uint64_t end;

	open_mapped(&vm, state);
	before = dump_of(&vm);
	end = test_vm_size(&vm);
	for (size_t i = 0; i < ARRAY_LEN(range_calls); i++) {
		const struct {
			struct tdp_range r;
			int status;
		} tries[] = {
			{{GPA + 1, TEST_PAGE}, TDP_EINVAL},
			{{GPA + 0x800, TEST_PAGE}, TDP_EINVAL},
			{{GPA, 1}, TDP_EINVAL},
			{{GPA, TEST_PAGE - 1}, TDP_EINVAL},
			{{GPA, TEST_PAGE + 8}, TDP_EINVAL},
			{{GPA, 0}, TDP_EINVAL},
			{{0, 0}, TDP_EINVAL},
			{{0, ~(uint64_t)0}, TDP_EINVAL},
			{{end, TEST_PAGE}, TDP_ERANGE},
			{{end - TEST_PAGE, 2 * TEST_PAGE}, TDP_ERANGE},
			{{GPA, end}, TDP_ERANGE},
			{{0, end + TEST_PAGE}, TDP_ERANGE},
			/* start + size wraps: to 0, and to a range that is mapped. */
			{{(uint64_t)0 - TEST_PAGE, TEST_PAGE}, TDP_ERANGE},
			{{(uint64_t)0 - TEST_PAGE, GPA + 2 * TEST_PAGE}, TDP_ERANGE},
			{{GPA, (uint64_t)0 - GPA}, TDP_ERANGE},
			{{GPA, (uint64_t)0 - TEST_PAGE}, TDP_ERANGE},
		};

		for (size_t k = 0; k < ARRAY_LEN(tries); k++)
			refused(&vm, i, 0, tries[k].r, tries[k].status);
		if (!(range_calls[i].flags & NO_AS)) {
			refused(&vm, i, TDP_AS_MAX, range_of(GPA, TEST_PAGE), TDP_EINVAL);
			refused(&vm, i, TDP_AS_ALL - 1, range_of(GPA, TEST_PAGE), TDP_EINVAL);
		}
		if (range_calls[i].flags & ONE_AS)
			refused(&vm, i, TDP_AS_ALL, range_of(GPA, TEST_PAGE), TDP_EINVAL);
		assert_int_equal(
			range_calls[i].fn(NULL, 0, range_of(GPA, TEST_PAGE), &(struct outs){0}),
			TDP_EINVAL);
	}
	same_as(&vm, &before);
	vm_down(&vm);
}

/* ---- calls that take an address -------------------------------------------------------------- */

static void addresses(void **state)
{
	struct tdp_mapping leaf = {.size = (uint32_t)sizeof(leaf), .pa = UNTOUCHED};
	struct tdp_path path = {.size = (uint32_t)sizeof(path), .first_level = 0x5a};
	struct test_dump before;
	char text[8] = "abc";
	uint32_t lg2 = 77, id = 77;
	struct test_vm vm;

	open_mapped(&vm, state);
	before = dump_of(&vm);
	for (int i = 0; i < 2; i++) {
		tdp_gpa_t far = i ? ~(uint64_t)0 : test_vm_size(&vm);

		assert_int_equal(tdp_translate(vm.mm, 0, far, &leaf), TDP_ERANGE);
		assert_int_equal(tdp_walk_gpa(vm.mm, 0, far, &path), TDP_ERANGE);
		assert_int_equal(tdp_explain(vm.mm, 0, far, text, sizeof(text)), TDP_ERANGE);
		assert_int_equal(tdp_max_lg2(vm.mm, 0, far, &lg2), TDP_ERANGE);
		assert_int_equal(tdp_slot_find(vm.mm, 0, far, &id, NULL), TDP_ERANGE);
		assert_int_equal(fault(&vm, 0, far, TDP_R), TDP_ERANGE);
		assert_int_equal(tdp_slot_move(vm.mm, slot_id, i ? far & ~(TEST_PAGE - 1) : far),
				 TDP_ERANGE);
	}
	assert_int_equal(tdp_slot_move(vm.mm, slot_id, GPA + 5), TDP_EINVAL);
	for (uint32_t as = TDP_AS_MAX; as; as = as == TDP_AS_MAX ? TDP_AS_ALL : 0) {
		assert_int_equal(tdp_translate(vm.mm, as, GPA, &leaf), TDP_EINVAL);
		assert_int_equal(tdp_walk_gpa(vm.mm, as, GPA, &path), TDP_EINVAL);
		assert_int_equal(tdp_explain(vm.mm, as, GPA, text, sizeof(text)), TDP_EINVAL);
		assert_int_equal(tdp_max_lg2(vm.mm, as, GPA, &lg2), TDP_EINVAL);
		assert_int_equal(tdp_slot_find(vm.mm, as, GPA, &id, NULL), TDP_EINVAL);
		assert_int_equal(tdp_vcpu_set_as(vm.cpu[0].vcpu, as), TDP_ERANGE);
		assert_int_equal(tdp_role_root(vm.mm, as), 0);
	}
	assert_int_equal(leaf.pa, UNTOUCHED);
	assert_int_equal(path.first_level, 0x5a);
	assert_string_equal(text, "abc");
	assert_int_equal(lg2, 77);
	assert_int_equal(id, 77);
	/* Not aligned is right here: it is an address, not a range. */
	assert_int_equal(tdp_translate(vm.mm, 0, GPA + 0x123, &leaf), TDP_OK);
	assert_int_equal(leaf.gpa, GPA);
	same_as(&vm, &before);
	vm_down(&vm);
}

static int note_table(void *arg, const struct tdp_visit *v)
{
	*(tdp_pa_t *)arg = v->pa;
	return 0;
}

/* Addresses of tables: only the first byte of one names it. */
static void tables(void **state)
{
	struct test_dump before;
	struct test_vm vm;
	tdp_pa_t table = 0;
	tdp_gpa_t gpa = UNTOUCHED;

	open_mapped(&vm, state);
	before = dump_of(&vm);
	assert_int_equal(tdp_walk(vm.mm, 0, range_of(GPA, TEST_PAGE), TDP_WALK_TABLE_PRE,
				  note_table, &table),
			 TDP_OK);
	assert_int_not_equal(table, 0);
	assert_int_equal(tdp_zap_table(vm.mm, table + 8), TDP_ENOENT);
	assert_int_equal(tdp_zap_table(vm.mm, table + TEST_PAGE - 1), TDP_ENOENT);
	assert_int_equal(tdp_table_gpa(vm.mm, table + 8, 0, &gpa, NULL), TDP_ENOENT);
	assert_int_equal(tdp_table_gpa(vm.mm, table, 1u << vm.info.index_lg2, &gpa, NULL),
			 TDP_EINVAL);
	assert_int_equal(tdp_table_gpa(vm.mm, 0, 0, &gpa, NULL), TDP_ENOENT);
	assert_int_equal(gpa, UNTOUCHED);
	assert_int_equal(tdp_table_gpa(vm.mm, table, 3, &gpa, NULL), TDP_OK);
	assert_int_equal(gpa, GPA + 3 * TEST_PAGE);
	same_as(&vm, &before);
	vm_down(&vm);
}

/* ---- flags, sizes, pages of a slot ----------------------------------------------------------- */

static void flags_and_slots(void **state)
{
	struct tdp_range page = {GPA, TDP_PAGE_SIZE};
	uint64_t bits[2] = {UNTOUCHED, UNTOUCHED}, n = UNTOUCHED, pages;
	struct test_dump before;
	struct test_vm vm;

	open_mapped(&vm, state);
	pages = 4 * block_of(&vm) / TEST_PAGE;
	before = dump_of(&vm);
	assert_int_equal(tdp_zap(vm.mm, 0, page, 0x80), TDP_EINVAL);
	assert_int_equal(tdp_populate(vm.mm, 0, page, 0x80, &n), TDP_EINVAL);
	assert_int_equal(tdp_collapse(vm.mm, 0, page, 2, &n), TDP_EINVAL);
	assert_int_equal(tdp_split(vm.mm, 0, page, 13), TDP_EINVAL);
	assert_int_equal(tdp_split(vm.mm, 0, page, 0), TDP_EINVAL);
	assert_int_equal(tdp_split(vm.mm, 0, page, 64), TDP_EINVAL);
	assert_int_equal(tdp_walk(vm.mm, 0, page, 0, never, NULL), TDP_EINVAL);
	assert_int_equal(tdp_walk(vm.mm, 0, page, 0x100, never, NULL), TDP_EINVAL);
	assert_int_equal(tdp_walk(vm.mm, 0, page, TDP_WALK_LEAF, NULL, NULL), TDP_EINVAL);
	assert_int_equal(tdp_slot_set_flags(vm.mm, slot_id, 0x10), TDP_EINVAL);
	assert_int_equal(tdp_slot_set_flags(vm.mm, slot_id + 9, 0), TDP_ENOENT);
	assert_int_equal(tdp_slot_remove(vm.mm, slot_id + 9), TDP_ENOENT);
	assert_int_equal(tdp_slot_move(vm.mm, slot_id + 9, 0), TDP_ENOENT);
	assert_int_equal(tdp_dirty_log(vm.mm, slot_id + 9, TDP_LOG_AUTO), TDP_ENOENT);
	assert_int_equal(tdp_dirty_log(vm.mm, slot_id, 4), TDP_EINVAL);
	assert_int_equal(tdp_dirty_log(vm.mm, slot_id, TDP_LOG_AUTO | 0x1000), TDP_EINVAL);
	assert_int_equal(tdp_dirty_log(vm.mm, slot_id, TDP_LOG_AUTO | TDP_LOG_RECOVER), TDP_EINVAL);
	assert_int_equal(tdp_dirty_harvest(vm.mm, slot_id, 0, bits, 1), TDP_ENOENT);
	assert_int_equal(tdp_backing_ranges(vm.mm, 1, TEST_PAGE, never_range, NULL), TDP_EINVAL);
	assert_int_equal(tdp_backing_ranges(vm.mm, 0, 0, never_range, NULL), TDP_EINVAL);
	assert_int_equal(tdp_backing_ranges(vm.mm, (uint64_t)0 - TEST_PAGE, 2 * TEST_PAGE,
					    never_range, NULL),
			 TDP_ERANGE);
	same_as(&vm, &before);

	assert_int_equal(tdp_dirty_log(vm.mm, slot_id, TDP_LOG_WRPROT), TDP_OK);
	use(&vm, 0, GPA, TDP_W);
	before = dump_of(&vm);
	assert_int_equal(tdp_dirty_harvest(vm.mm, slot_id, 1, bits, 1), TDP_EINVAL);
	assert_int_equal(tdp_dirty_harvest(vm.mm, slot_id, 0, NULL, 1), TDP_EINVAL);
	assert_int_equal(tdp_dirty_harvest(vm.mm, slot_id, pages, bits, 1), TDP_ERANGE);
	assert_int_equal(tdp_dirty_get(vm.mm, slot_id, pages - 64, bits, 2), TDP_ERANGE);
	assert_int_equal(tdp_dirty_get(vm.mm, slot_id, ~(uint64_t)63, bits, 2), TDP_ERANGE);
	assert_int_equal(tdp_dirty_clear(vm.mm, slot_id, 0, 0), TDP_EINVAL);
	assert_int_equal(tdp_dirty_clear(vm.mm, slot_id, 0, pages + 1), TDP_ERANGE);
	assert_int_equal(tdp_dirty_clear(vm.mm, slot_id, ~(uint64_t)0, 2), TDP_ERANGE);
	assert_int_equal(tdp_dirty_clear(vm.mm, slot_id, 1, ~(uint64_t)0), TDP_ERANGE);
	assert_int_equal(tdp_dirty_clear_mask(vm.mm, slot_id, 3, 1), TDP_EINVAL);
	assert_int_equal(tdp_dirty_clear_mask(vm.mm, slot_id, pages, 1), TDP_ERANGE);
	assert_int_equal(tdp_dirty_mark(vm.mm, slot_id, pages, 1), TDP_ERANGE);
	assert_int_equal(tdp_dirty_mark(vm.mm, slot_id, 1, ~(uint64_t)0), TDP_ERANGE);
	assert_int_equal(bits[0], UNTOUCHED);
	assert_int_equal(bits[1], UNTOUCHED);
	assert_int_equal(n, UNTOUCHED);
	same_as(&vm, &before);
	assert_int_equal(tdp_dirty_get(vm.mm, slot_id, 0, bits, 1), TDP_OK);
	assert_int_equal(bits[0], 1);
	vm_down(&vm);
}

/* Structures by their size: older ones are zero beyond their end, newer ones must be. */
static void structures(void **state)
{
	struct {
		struct tdp_slot_desc d;
		uint64_t more;
	} slot = {{0}, 0};
	struct {
		struct tdp_fault f;
		uint64_t more;
	} f = {{0}, 0};
	struct tdp_fault_result result = {.size = 3};
	struct tdp_mapping leaf = {.size = 4};
	struct tdp_stats stats = {.size = 8};
	struct test_vm vm;
	uint32_t id = 77;

	open_mapped(&vm, state);
	slot.d.gpa = range_of(GPA / 2, TEST_PAGE);
	slot.d.pa = SLOT_PA;
	assert_int_equal(tdp_slot_add(vm.mm, &slot.d, &id), TDP_EINVAL); /* size 0 */
	slot.d.size = (uint32_t)sizeof(slot);
	slot.more = 1;
	assert_int_equal(tdp_slot_add(vm.mm, &slot.d, &id), TDP_E2BIG);
	slot.more = 0;
	slot.d.flags = 0x40;
	assert_int_equal(tdp_slot_add(vm.mm, &slot.d, &id), TDP_EINVAL);
	assert_int_equal(id, 77);
	slot.d.flags = 0;
	assert_int_equal(tdp_slot_add(vm.mm, &slot.d, &id), TDP_OK);
	f.f = (struct tdp_fault){.size = (uint32_t)sizeof(f), .gpa = GPA / 2, .access = TDP_R};
	f.more = 1;
	assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &f.f, NULL), TDP_E2BIG);
	f.more = 0;
	f.f.reserved = 1;
	assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &f.f, NULL), TDP_EINVAL);
	f.f.reserved = 0;
	f.f.access = 16;
	assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &f.f, NULL), TDP_EINVAL);
	f.f.access = 0;
	assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &f.f, NULL), TDP_EINVAL);
	f.f.access = TDP_R;
	assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &f.f, &result), TDP_EINVAL);
	assert_int_equal(tdp_fault(NULL, &f.f, NULL), TDP_EINVAL);
	assert_int_equal(tdp_translate(vm.mm, 0, GPA, &leaf), TDP_EINVAL);
	assert_int_equal(tdp_stats(vm.mm, &stats), TDP_EINVAL);
	assert_false(mapped(&vm, 0, GPA / 2));
	f.f.size = offsetof(struct tdp_fault, reserved); /* shorter */
	assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &f.f, NULL), TDP_FAULT_FIXED);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(ranges),          TEST_CASE(addresses),  TEST_CASE(tables),
		TEST_CASE(flags_and_slots), TEST_CASE(structures),
	};

	return test_run("bad_input", cases, ARRAY_LEN(cases));
}

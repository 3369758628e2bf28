/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arming a log by a few entries high up (TDP_LOG_LAZY): what is written afterwards is in the log, whatever was mapped and
 * whatever else happens below what is shut; nothing else is; and it costs what it promises.
 */
#include "lazy.h"

static bool has_no_table_w(const struct test_format *fmt)
{
	return !is_x86(fmt);
}

/* ---- what it is refused for ---- */

static void refused(void **state)
{
	struct test_vm vm;
	struct guest g;
	uint64_t word;

	vm_up(&vm, state, NULL);
	slot_of(&g, &vm, GPA, 64, SLOT_PA, TDP_SLOT_FORCE_4K);
	write_all(&g, 1);
	assert_int_equal(tdp_dirty_log(vm.mm, g.id, TDP_LOG_AUTO | LAZY), TDP_ENOTSUP);
	assert_int_equal(tdp_dirty_log(vm.mm, g.id, TDP_LOG_AUTO | LAZY | TDP_LOG_INITIALLY_SET),
			 TDP_ENOTSUP);
	assert_int_equal(tdp_dirty_get(vm.mm, g.id, 0, &word, 1), TDP_ENOENT);
	assert_int_equal(use(&vm, 0, GPA, TDP_W).faults, 0);
	vm_down(&vm);
}

static void refused_with_off(void **state)
{
	struct test_vm vm;
	struct guest g;

	vm_up(&vm, state, NULL);
	slot_of(&g, &vm, GPA, 64, SLOT_PA, 0);
	assert_int_equal(tdp_dirty_log(vm.mm, g.id, TDP_LOG_OFF | LAZY), TDP_EINVAL);
	assert_int_equal(tdp_dirty_log(vm.mm, g.id, TDP_LOG_AUTO | LAZY | TDP_LOG_RECOVER),
			 TDP_EINVAL);
	assert_int_equal(tdp_dirty_log(vm.mm, g.id + 1, TDP_LOG_AUTO | LAZY), TDP_ENOENT);
	vm_down(&vm);
}

/* ---- what is written is logged ---- */

/* 4K pages, 2M pages; slots that begin and end within a table; and read before it is written to, or not. */
static void logs_what_is_written(void **state)
{
	static const struct {
		uint64_t start, pages; /* in 4K pages from GPA on */
		uint32_t flags;
	} shapes[] = {
		{0, 64, TDP_SLOT_FORCE_4K},
		{0, 3 * 512, TDP_SLOT_FORCE_4K},
		{7, 512, TDP_SLOT_FORCE_4K},
		{500, 1100, TDP_SLOT_FORCE_4K},
		{0, 4 * 512, 0},
		{512, 4 * 512 + 3, 0},
		{510, 4 * 512 + 3, 0},
		{GIB / TEST_PAGE - 600, 1200, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		tdp_gpa_t gpa = GPA + shapes[i].start * TEST_PAGE;
		struct test_vm vm;
		struct guest g;

		vm_up(&vm, state, &(struct test_vm_options){.cpus = 2});
		slot_of(&g, &vm, gpa, shapes[i].pages, SLOT_PA + gpa, shapes[i].flags);
		for_each_mode(&vm, mode)
		{
			write_all(&g, 1);
			log_with(&g, mode | LAZY);
			assert_int_equal(marks_of(&g).dirty, 0);
			if (mode == TDP_LOG_WRPROT)
				assert_int_equal(marks_of(&g).writable, 0);
			for (uint64_t page = 0; page < g.pages; page += 3)
				assert_int_equal(use(&vm, 0, gpa + page * TEST_PAGE, TDP_R).faults,
						 0);
			rounds(&g);
			log_off(&g);
			/* Lazily after lazily, when some is shut and some is open. */
			log_with(&g, mode | LAZY);
			rounds(&g);
			log_off(&g);
			assert_int_equal(tdp_collapse(vm.mm, 0, everything(&vm), 0, NULL), TDP_OK);
		}
		vm_down(&vm);
	}
}

/* Sparse, over all levels: what is shut is shut at the top, and opened table by table, huge pages among them. */
static void all_levels(void **state)
{
	static const uint64_t at[] = {
		0, 1, 511, 512, 262143, 262144, 262144 * 2 + 5, 262144 * 600ull};
	uint64_t pages = 262144 * 1024ull; /* 1 TiB */
	tdp_gpa_t gpa = (uint64_t)1 << 41;
	struct test_vm vm;

	for (int huge = 0; huge < 2; huge++) {
		uint32_t id;

		vm_up(&vm, state, &(struct test_vm_options){.cpus = 2});
		id = add_slot(&vm, 0, gpa, pages * TEST_PAGE, (uint64_t)1 << 42,
			      huge ? 0 : TDP_SLOT_FORCE_4K);
		for_each_mode(&vm, mode)
		{
			for (size_t i = 0; i < ARRAY_LEN(at); i++)
				use(&vm, i % 2, gpa + at[i] * TEST_PAGE, TDP_W);
			assert_int_equal(tdp_dirty_log(vm.mm, id, mode | LAZY), TDP_OK);
			for (size_t i = 0; i < ARRAY_LEN(at); i++) {
				tdp_gpa_t one = gpa + at[i] * TEST_PAGE;

				assert_int_equal(leaf_at(&vm, one).prot & TDP_W, 0);
				assert_int_equal(use(&vm, 0, one, TDP_R).faults, 0);
			}
			for (size_t i = 0; i < ARRAY_LEN(at); i++) {
				uint64_t word, bit = (uint64_t)1 << at[i] % 64;

				for (int round = 0; round < 2; round++) {
					use(&vm, i % 2, gpa + at[i] * TEST_PAGE, TDP_W);
					assert_int_equal(tdp_dirty_harvest(vm.mm, id,
									   at[i] / 64 * 64, &word,
									   1),
							 TDP_OK);
					assert_int_equal(word, bit);
				}
			}
			assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_OFF), TDP_OK);
			assert_int_equal(test_vm_check(&vm), 0);
			assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), 0), TDP_OK);
		}
		vm_down(&vm);
	}
}

/* ---- what it costs ---- */

/* Entries changed and flushes asked for. */
struct cost {
	uint64_t entries, flushes;
};

static struct cost cost_of(const struct spy *spy)
{
	return (struct cost){spy->syncs, spy->ranges + spy->alls};
}

/* The same few entries and one flush, however much is mapped, and faults that do not depend on it either. */
static void arms_at_the_top(void **state)
{
	static const uint64_t size[] = {4 * MIB, 64 * MIB, GIB};

	for (size_t i = 0; i < ARRAY_LEN(size); i++) {
		struct spy spy = {.sync = true};
		struct cost before, after;
		struct guest g = {0};

		spy_up(&spy, state, NULL);
		g.id = add_slot(&spy.vm, 0, GPA, GIB, SLOT_PA, TDP_SLOT_FORCE_4K);
		for (tdp_gpa_t gpa = GPA; gpa < GPA + size[i]; gpa += MIB)
			use(&spy.vm, 0, gpa, TDP_W);
		before = cost_of(&spy);
		assert_int_equal(tdp_dirty_log(spy.vm.mm, g.id, TDP_LOG_AUTO | LAZY), TDP_OK);
		after = cost_of(&spy);
		assert_int_equal(after.entries - before.entries, 1);
		assert_int_equal(after.flushes - before.flushes, 1);
		assert_int_equal(spy.levels, 0); /* pointers to tables, too */
		/* The way down: one table of tables, and one of leaves. */
		use(&spy.vm, 0, GPA + MIB, TDP_W);
		assert_int_equal(cost_of(&spy).flushes - after.flushes, 1);
		after = cost_of(&spy);
		if (spy.vm.info.ad & 2)
			assert_int_equal(use(&spy.vm, 0, GPA, TDP_W).faults, 0);
		use(&spy.vm, 0, GPA + 3 * MIB, TDP_W);
		assert_int_equal(cost_of(&spy).flushes, after.flushes);
		vm_down(&spy.vm);
	}
}

struct opening {
	tdp_gpa_t gpa;
	unsigned flushes;
	int log;
};

static bool entry_shut(const struct test_vm *vm, tdp_gpa_t gpa, unsigned level)
{
	struct tdp_path path = {.size = (uint32_t)sizeof(path)};

	assert_int_equal(tdp_walk_gpa(vm->mm, 0, gpa, &path), TDP_OK);
	assert_int_equal(path.kind[level], TDP_ENTRY_TABLE);
	return !(path.entry[level] & 2);
}

/* Whoever flushes while it opens: what is below is shut by now, and the entry above is still. */
static void look_at_opening(struct spy *spy, struct tdp_range range)
{
	struct opening *o = spy->arg;

	if (!o)
		return;
	assert_int_equal(range.start, GPA);
	assert_int_equal(range.size, GIB);
	assert_true(entry_shut(&spy->vm, GPA, 2));
	for (tdp_gpa_t gpa = GPA; gpa < GPA + GIB; gpa += GIB / 4)
		assert_true(entry_shut(&spy->vm, gpa, 1));
	o->flushes++;
}

static void flushes_before_it_opens(void **state)
{
	struct spy spy = {.on_flush = look_at_opening};
	struct opening o = {0};
	uint32_t id;

	spy_up(&spy, state, NULL);
	id = add_slot(&spy.vm, 0, GPA, GIB, SLOT_PA, TDP_SLOT_FORCE_4K);
	for (tdp_gpa_t gpa = GPA; gpa < GPA + GIB; gpa += GIB / 4)
		use(&spy.vm, 0, gpa, TDP_W);
	assert_int_equal(tdp_dirty_log(spy.vm.mm, id, TDP_LOG_AUTO | LAZY), TDP_OK);
	spy.arg = &o;
	assert_int_equal(fault(&spy.vm, 0, GPA, TDP_W), TDP_FAULT_FIXED);
	spy.arg = NULL;
	assert_int_equal(o.flushes, 1);
	assert_false(entry_shut(&spy.vm, GPA, 2));
	assert_false(entry_shut(&spy.vm, GPA, 1));
	assert_true(entry_shut(&spy.vm, GPA + GIB / 4, 1));
	vm_down(&spy.vm);
}

/* ---- what lookups say ---- */

static void lookups_say_what_works(void **state)
{
	struct tdp_fault f = {.size = (uint32_t)sizeof(f), .gpa = GPA, .access = TDP_R};
	struct tdp_fault_result r = {.size = (uint32_t)sizeof(r)};
	struct test_vm vm;
	struct guest g;
	char text[1024];

	vm_up(&vm, state, NULL);
	slot_of(&g, &vm, GPA, 1024, SLOT_PA, TDP_SLOT_FORCE_4K);
	for_each_mode(&vm, mode)
	{
		write_all(&g, 1);
		assert_int_equal(marks_of(&g).writable, 1024);
		log_with(&g, mode | LAZY);
		assert_int_equal(marks_of(&g).leaves, 1024);
		assert_int_equal(marks_of(&g).writable, 0);
		assert_int_equal(marks_of(&g).dirty, 0);
		assert_int_equal(leaf_at(&vm, GPA).prot & (TDP_RWX | TDP_MT_MASK),
				 TDP_R | TDP_X | TDP_MT_WB);
		assert_true(leaf_at(&vm, GPA).flags & TDP_MAP_MMU_WRITABLE);
		assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &f, &r), TDP_FAULT_SPURIOUS);
		assert_int_equal(r.prot & TDP_RWX, TDP_R | TDP_X);
		f.flags = TDP_FAULT_PREFETCH;
		assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &f, &r), TDP_FAULT_SPURIOUS);
		assert_int_equal(r.prot & TDP_RWX, TDP_R | TDP_X);
		f.flags = 0;
		assert_true(tdp_explain(vm.mm, 0, GPA, text, sizeof(text)) > 0);
		assert_non_null(strstr(text, "the next write fault grants it"));
		write_page(&g, 3);
		assert_true(leaf_at(&vm, GPA + 3 * TEST_PAGE).prot & TDP_W);
		/* The other table is shut still, whatever this one says. */
		assert_int_equal(leaf_at(&vm, GPA + 512 * TEST_PAGE).prot & TDP_W, 0);
		log_off(&g);
		assert_int_equal(leaf_at(&vm, GPA + 512 * TEST_PAGE).prot & TDP_W, 0);
		use(&vm, 0, GPA + 512 * TEST_PAGE, TDP_W);
		assert_true(leaf_at(&vm, GPA + 512 * TEST_PAGE).prot & TDP_W);
		assert_true(leaf_at(&vm, GPA + 700 * TEST_PAGE).prot & TDP_W);
	}
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(refused, has_no_table_w),
		TEST_CASE(refused_with_off),
		TEST_CASE_IF(logs_what_is_written, has_table_w),
		TEST_CASE_IF(all_levels, has_table_w),
		TEST_CASE_IF(arms_at_the_top, has_table_w),
		TEST_CASE_IF(flushes_before_it_opens, has_table_w),
		TEST_CASE_IF(lookups_say_what_works, has_table_w),
	};

	return test_run("lazy_arm", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* A log that was armed lazily beside all else: the log is exact, whatever happens below what is shut. */
#include "lazy.h"

static bool table_w_and_d(const struct test_format *fmt)
{
	return is_x86(fmt) && has_a(fmt);
}

/* ---- everything else, below what is shut ---- */

static void zap_some(struct guest *g, struct tdp_range r)
{
	assert_int_equal(tdp_zap(g->vm->mm, 0, r, 0), TDP_OK);
}

static void zap_young(struct guest *g, struct tdp_range r)
{
	assert_int_equal(tdp_zap(g->vm->mm, 0, r, TDP_ZAP_KEEP_YOUNG), TDP_OK);
}

static void protect_some(struct guest *g, struct tdp_range r)
{
	assert_int_equal(tdp_write_protect(g->vm->mm, 0, r), TDP_OK);
}

static void track_some(struct guest *g, struct tdp_range r)
{
	assert_int_equal(tdp_write_track(g->vm->mm, 0, r, true), TDP_OK);
	stopped(g->vm, 0, r.start, TDP_W, TDP_FAULT_TRACKED);
	assert_int_equal(tdp_write_track(g->vm->mm, 0, r, false), TDP_OK);
}

static void split_some(struct guest *g, struct tdp_range r)
{
	assert_int_equal(tdp_split(g->vm->mm, 0, r, TDP_PAGE_LG2), TDP_OK);
}

static void collapse_some(struct guest *g, struct tdp_range r)
{
	assert_int_equal(tdp_collapse(g->vm->mm, 0, r, 0, NULL), TDP_OK);
}

static void compact_some(struct guest *g, struct tdp_range r)
{
	assert_int_equal(tdp_zap(g->vm->mm, 0, r, TDP_ZAP_KEEP_YOUNG), TDP_OK);
	assert_true(tdp_compact(g->vm->mm, 0, r) >= 0);
}

static void age_some(struct guest *g, struct tdp_range r)
{
	for (int i = 0; i < 4; i++)
		assert_true(tdp_age(g->vm->mm, 0, r, NULL) >= 0);
}

static void populate_some(struct guest *g, struct tdp_range r)
{
	assert_int_equal(tdp_zap(g->vm->mm, 0, r, 0), TDP_OK);
	assert_int_equal(tdp_populate(g->vm->mm, 0, r, 0, NULL), TDP_OK);
}

static void clear_some(struct guest *g, struct tdp_range r)
{
	assert_int_equal(tdp_dirty_clear(g->vm->mm, g->id, (r.start - g->gpa) / TEST_PAGE,
					 r.size / TEST_PAGE),
			 TDP_OK);
}

static void renew_roots(struct guest *g, struct tdp_range r)
{
	(void)r;
	assert_int_equal(tdp_roots_invalidate(g->vm->mm), TDP_OK);
}

static void (*const others[])(struct guest *g, struct tdp_range r) = {
	zap_some,     zap_young, protect_some,  track_some, split_some,  collapse_some,
	compact_some, age_some,  populate_some, clear_some, renew_roots,
};

/* Armed, the other operation, and what is written after it. */
static void one_beside(struct guest *g, uint32_t mode, bool open,
		       void (*other)(struct guest *g, struct tdp_range r), struct tdp_range r)
{
	write_all(g, 5);
	log_with(g, mode | LAZY);
	for (uint64_t page = 0; open && page < g->pages; page += 256)
		write_page(g, page);
	if (open)
		log_is_exact(g);
	other(g, r);
	log_is_exact(g);
	for (uint64_t page = 0; page < g->pages; page += 37)
		write_page(g, page);
	log_is_exact(g);
	for (uint64_t page = 5; page < g->pages; page += 41)
		write_page(g, page);
	log_is_exact(g);
	log_off(g);
	assert_int_equal(test_vm_check(g->vm), 0);
}

/* Each other operation between arming and writing, on what is wholly and what is partly below one entry. */
static void beside_everything_else(void **state)
{
	static const struct {
		uint64_t first, pages;
	} parts[] = {{0, 512}, {512, 1024}, {100, 7}, {500, 600}};

	for (int huge = 0; huge < 2; huge++) {
		struct test_vm vm;
		struct guest g;

		vm_up(&vm, state,
		      &(struct test_vm_options){
			      .cpus = 2,
			      .mm_flags = table_w_and_d(*state) ? TDP_MM_AGE_TABLES : 0});
		slot_of(&g, &vm, GPA, 4 * 512, SLOT_PA, huge ? 0 : TDP_SLOT_FORCE_4K);
		for (size_t i = 0; i < ARRAY_LEN(others) * ARRAY_LEN(parts) * 2; i++) {
			size_t part = i / ARRAY_LEN(others) % ARRAY_LEN(parts);
			bool open = i / ARRAY_LEN(others) / ARRAY_LEN(parts);
			struct tdp_range r = range_of(GPA + parts[part].first * TEST_PAGE,
						      parts[part].pages * TEST_PAGE);

			for_each_mode(&vm, mode)
				one_beside(&g, mode, open, others[i % ARRAY_LEN(others)], r);
			assert_int_equal(tdp_collapse(vm.mm, 0, everything(&vm), 0, NULL), TDP_OK);
		}
		vm_down(&vm);
	}
}

/* ---- off, and on again in another way ---- */

static void on_again(void **state)
{
	static const uint32_t how[] = {0, LAZY, TDP_LOG_INITIALLY_SET, LAZY | TDP_LOG_INITIALLY_SET,
				       TDP_LOG_EAGER_SPLIT | LAZY};

	for (size_t i = 0; i < ARRAY_LEN(how); i++) {
		struct test_vm vm;
		struct guest g;

		vm_up(&vm, state, &(struct test_vm_options){.cpus = 2});
		slot_of(&g, &vm, GPA, 2 * 512, SLOT_PA, 0);
		for_each_mode(&vm, first)
		{
			for_each_mode(&vm, second)
			{
				write_all(&g, 1);
				log_with(&g, first | LAZY);
				write_page(&g, 5);
				log_off(&g);
				/* Off: no write faults for ever, and none is logged. */
				use(&vm, 0, GPA, TDP_W);
				assert_int_equal(use(&vm, 0, GPA, TDP_W).faults, 0);
				log_with(&g, second | how[i]);
				if (how[i] & TDP_LOG_INITIALLY_SET)
					memset(g.written, 0xff, g.words * 8);
				rounds(&g);
				log_off(&g);
				for (uint64_t page = 0; page < g.pages; page++)
					assert_true(
						use(&vm, 0, GPA + page * TEST_PAGE, TDP_W).faults <=
						1);
				assert_int_equal(tdp_collapse(vm.mm, 0, everything(&vm), 0, NULL),
						 TDP_OK);
			}
		}
		vm_down(&vm);
	}
}

/* With the slot what is shut goes, and its log goes with it to where it moves. */
static void slot_moves_and_goes(void **state)
{
	struct test_vm vm;
	struct guest g;

	vm_up(&vm, state, &(struct test_vm_options){.cpus = 2});
	for_each_mode(&vm, mode)
	{
		slot_of(&g, &vm, GPA, 3 * 512, SLOT_PA, TDP_SLOT_FORCE_4K);
		write_all(&g, 1);
		log_with(&g, mode | LAZY);
		write_page(&g, 600);
		assert_int_equal(tdp_slot_move(vm.mm, g.id, 3 * GIB), TDP_OK);
		g.gpa = 3 * GIB;
		assert_int_equal(test_vm_check(&vm), 0);
		log_is_exact(&g);
		rounds(&g);
		assert_int_equal(tdp_slot_set_flags(vm.mm, g.id, TDP_SLOT_READONLY), TDP_OK);
		stopped(&vm, 0, g.gpa, TDP_W, TDP_FAULT_READONLY);
		assert_int_equal(tdp_slot_remove(vm.mm, g.id), TDP_OK);
		assert_int_equal(test_vm_check(&vm), 0);
	}
	vm_down(&vm);
}

/* A slot in each address space, and one beside: only what was asked for is armed. */
static void only_that_slot(void **state)
{
	struct test_vm vm;
	struct guest g, h;
	uint32_t other;

	vm_up(&vm, state, &(struct test_vm_options){.cpus = 2});
	slot_of(&g, &vm, GPA, 2 * 512 + 100, SLOT_PA, TDP_SLOT_FORCE_4K);
	slot_of(&h, &vm, GPA + g.pages * TEST_PAGE, 512, 2 * SLOT_PA, TDP_SLOT_FORCE_4K);
	other = add_slot(&vm, 1, GPA, 4 * MIB, SLOT_PA, TDP_SLOT_FORCE_4K);
	assert_int_equal(tdp_vcpu_set_as(vm.cpu[1].vcpu, 1), TDP_OK);
	vm.cpus = 1;
	write_all(&g, 1);
	write_all(&h, 1);
	use(&vm, 1, GPA, TDP_W);
	log_with(&g, TDP_LOG_AUTO | LAZY);
	for (uint64_t page = 0; page < h.pages; page++)
		assert_int_equal(write_page(&h, page).faults, 0);
	assert_int_equal(use(&vm, 1, GPA, TDP_W).faults, 0);
	log_is_exact(&g);
	write_all(&g, 7);
	log_is_exact(&g);
	assert_int_equal(tdp_slot_remove(vm.mm, other), TDP_OK);
	vm.cpus = 2;
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(beside_everything_else, has_table_w),
		TEST_CASE_IF(on_again, has_table_w),
		TEST_CASE_IF(slot_moves_and_goes, has_table_w),
		TEST_CASE_IF(only_that_slot, has_table_w),
	};

	return test_run("lazy_beside", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Where no slot is: remembered in the tables, forgotten in time, never over a leaf. */
#include "steps.h"

#define GPA GIB

static uint64_t mmio_entries(const struct test_vm *vm)
{
	return stats_of(vm).mmio;
}

static uint8_t kind_at(const struct test_vm *vm, tdp_gpa_t gpa)
{
	uint8_t kind;

	word_at(vm, gpa, &kind);
	return kind;
}

/* IO01: an entry says "no slot" until any slot changes; then the slots are asked again. */
static void remembered_until_a_slot_changes(void **state)
{
	struct test_vm vm;
	uint64_t word;
	uint32_t id;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, 2 * GPA, TEST_PAGE, SLOT_PA, 0);
	stopped(&vm, 0, GPA + 7, TDP_R, TDP_FAULT_MMIO);
	assert_int_equal(mmio_entries(&vm), 1);
	assert_int_equal(kind_at(&vm, GPA), TDP_ENTRY_MMIO);
	word = word_at(&vm, GPA, NULL);
	for (int i = 0; i < 3; i++)
		stopped(&vm, 0, GPA, i ? TDP_W : TDP_X, TDP_FAULT_MMIO);
	assert_int_equal(word_at(&vm, GPA, NULL), word);
	assert_false(mapped(&vm, 0, GPA));
	/* Elsewhere: asked again, found again, another generation. */
	id = add_slot(&vm, 0, 3 * GPA, TEST_PAGE, SLOT_PA, 0);
	stopped(&vm, 0, GPA, TDP_R, TDP_FAULT_MMIO);
	assert_int_not_equal(word_at(&vm, GPA, NULL), word);
	assert_int_equal(mmio_entries(&vm), 1);
	/* Here: it is memory now. */
	add_slot(&vm, 0, GPA, TEST_PAGE, SLOT_PA, 0);
	assert_int_equal(use(&vm, 0, GPA, TDP_W).pa, SLOT_PA);
	assert_int_equal(mmio_entries(&vm), 0);
	assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
	assert_int_equal(use(&vm, 0, GPA, TDP_W).pa, SLOT_PA);
	vm_down(&vm);
}

static int none(void *arg, const struct tdp_visit *visit)
{
	(void)arg;
	fail_msg("still there: %#llx", (unsigned long long)visit->gpa);
	return 0;
}

/*
 * IO01: a generation of three bits comes round; no entry of eight changes before is believed then.
 */
static void generation_comes_round(void **state)
{
	struct test_vm vm;
	tdp_gpa_t gpa = GPA;

	vm_up(&vm, state, NULL);
	vm.cfg.mmio_gen_bits = 3;
	remake(&vm);
	for (int round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < 16; i++)
			stopped(&vm, 0, gpa + i * TEST_PAGE, TDP_R, TDP_FAULT_MMIO);
		/* With the last of these the generation has moved by eight. */
		for (uint32_t i = 0; i < 8; i++)
			add_slot(&vm, 0, gpa + 2 * i * TEST_PAGE, TEST_PAGE,
				 SLOT_PA + i * TEST_PAGE, 0);
		/* An entry of the same three bits would be believed: on the way all were dropped. */
		assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm), TDP_WALK_MMIO, none, NULL),
				 TDP_OK);
		for (uint64_t i = 0; i < 16; i++) {
			if (i % 2)
				stopped(&vm, 0, gpa + i * TEST_PAGE, TDP_W, TDP_FAULT_MMIO);
			else
				assert_int_equal(use(&vm, 0, gpa + i * TEST_PAGE, TDP_W).pa,
						 SLOT_PA + i / 2 * TEST_PAGE);
		}
		gpa += 16 * TEST_PAGE;
	}
	vm_down(&vm);
}

/* IO02: without the cache the answers are the same and no entry is made. */
static void without_cache(void **state)
{
	struct test_vm_options opts = {.mm_flags = TDP_MM_NO_MMIO_CACHE};
	struct test_vm vm;
	uint64_t tables;

	vm_up(&vm, state, &opts);
	add_slot(&vm, 0, 2 * GPA, TEST_PAGE, SLOT_PA, 0);
	load(&vm, 0);
	tables = tables_of(&vm);
	for (uint64_t i = 0; i < 3; i++)
		stopped(&vm, 0, GPA + i * MIB, TDP_R, TDP_FAULT_MMIO);
	assert_int_equal(mmio_entries(&vm), 0);
	assert_int_equal(tables_of(&vm), tables);
	add_slot(&vm, 0, GPA, TEST_PAGE, SLOT_PA, 0);
	assert_int_equal(use(&vm, 0, GPA, TDP_W).pa, SLOT_PA);
	vm_down(&vm);
}

struct removal {
	struct spy *spy;
	uint32_t steps, mmio;
	tdp_gpa_t late;
	uint64_t word;
	bool was_leaf, overwritten;
};

static void fault_late(struct test_vm *vm, void *arg)
{
	struct removal *r = arg;
	uint8_t kind;
	int outcome;

	r->word = word_at(vm, r->late, &kind);
	if (kind != TDP_ENTRY_LEAF)
		return;
	r->was_leaf = true;
	outcome = fault(vm, 1, r->late, TDP_W);
	r->mmio += outcome == TDP_FAULT_MMIO;
	r->overwritten |= word_at(vm, r->late, &kind) != r->word;
}

static void while_leaving(void *arg)
{
	struct removal *r = arg;

	if (!r->steps++)
		run_aside(&r->spy->vm, fault_late, r);
}

/*
 * IO04: a leaf whose slot is on its way out is never turned into an MMIO entry: first it goes,
 * flushed.
 */
static void never_over_a_leaf(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct removal r;
	struct spy spy;
	struct test_vm *vm = &spy.vm;
	uint64_t flushes;
	uint32_t id;

	memset(&spy, 0, sizeof(spy));
	memset(&r, 0, sizeof(r));
	spy_up(&spy, state, &opts);
	/*
	 * On both sides of a boundary of larger tables, so that the walk gives way before the last
	 * one.
	 */
	r.spy = &spy;
	r.late = GPA + block_of(vm) + 5 * TEST_PAGE;
	id = add_slot(vm, 0, GPA - 8 * TEST_PAGE, block_of(vm) + 16 * TEST_PAGE, SLOT_PA,
		      TDP_SLOT_FORCE_4K);
	use(vm, 0, GPA - TEST_PAGE, TDP_R);
	use(vm, 0, r.late, TDP_R);
	load(vm, 1);
	assert_int_equal(tdp_write_protect(vm->mm, 0, everything(vm)), TDP_OK);
	flushes = atomic_load(&spy.ranges) + atomic_load(&spy.alls);
	vm->env.on_yield = while_leaving;
	vm->env.on_yield_arg = &r;
	test_env_yield(&vm->env, TEST_YIELD_ALWAYS, 0);
	assert_int_equal(tdp_slot_remove(vm->mm, id), TDP_OK);
	test_env_yield(&vm->env, TEST_YIELD_NEVER, 0);
	assert_true(r.steps > 0 && r.was_leaf);
	assert_int_equal(r.mmio, 0);
	assert_false(r.overwritten);
	assert_true(atomic_load(&spy.ranges) + atomic_load(&spy.alls) > flushes);
	assert_int_equal(tdp_emu_cached(vm->emu, GPA, 4 * block_of(vm)), 0);
	stopped(vm, 0, r.late, TDP_W, TDP_FAULT_MMIO);
	assert_int_equal(kind_at(vm, r.late), TDP_ENTRY_MMIO);
	vm_down(vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(remembered_until_a_slot_changes),
		TEST_CASE(generation_comes_round),
		TEST_CASE(without_cache),
		TEST_CASE(never_over_a_leaf),
	};

	return test_run("mmio", cases, ARRAY_LEN(cases));
}

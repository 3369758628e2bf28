/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F17, KVM arm64 2024: after a table had been unlinked, the flush said "a leaf of that level", so the children
 * and what the walk cache knew of the table stayed.
 *
 * Here a table goes with all of its children in TLBs, and one goes that maps nothing any more but is known to
 * a walk cache. Then no child may hit, and no walk may pass through the table, which is freed by then.
 */
#include "flush.h"

static struct test_vm *full_table(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm *vm = spied_vm(state, &opts, NULL);

	assert_int_equal(test_vm_slot(vm, 0, GPA, table_span(vm, 0), PA, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	cache_all(vm, range_of(GPA, table_span(vm, 0)), TEST_PAGE);
	return vm;
}

static void children_of_a_table(void **state)
{
	struct test_vm *vm = full_table(state);
	struct tdp_range all = range_of(GPA, table_span(vm, 0));

	assert_int_equal(tdp_zap(vm->mm, 0, all, 0), TDP_OK);
	tables_of(vm); /* and nobody waits for a grace period any more */
	assert_gone(vm, all, TEST_PAGE);
	close_vm(vm);
}

/* Emptied page by page, then looked up in vain, then freed. */
static void way_to_an_empty_table(void **state)
{
	struct test_vm *vm = full_table(state);
	struct tdp_range all = range_of(GPA, table_span(vm, 0));
	uint64_t tables;

	assert_int_equal(tdp_zap(vm->mm, 0, range_of(GPA, all.size / 2), 0), TDP_OK);
	assert_int_equal(tdp_zap(vm->mm, 0, range_of(GPA + all.size / 2, all.size / 2), 0), TDP_OK);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++)
		assert_int_not_equal(raw(vm, cpu, GPA, TDP_R, NULL), TDP_EMU_OK);
	tables = tables_of(vm);
	assert_int_equal(tdp_compact(vm->mm, 0, all), 1);
	assert_int_equal(tables_of(vm), tables - 1);
	/* Not a bus error, nor anything out of the freed page: the walk ends above it. */
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++)
		for (unsigned page = 0; page < 8; page++) {
			struct tdp_emu_exit exit;
			int reason = raw(vm, cpu, GPA + page * TEST_PAGE, TDP_R, &exit);

			assert_int_not_equal(reason, TDP_EMU_OK);
			assert_int_not_equal(reason, TDP_EMU_BUS_ERROR);
		}
	touch_linear(vm, 1, GPA, TDP_W);
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(children_of_a_table),
						 TEST_CASE(way_to_an_empty_table)};

	return test_run("museum/F17", cases, ARRAY_LEN(cases));
}

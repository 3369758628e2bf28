/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F19, TF-RMM 2023: destroying a table of unprotected memory flushed the address at its base and nothing else.
 *
 * Here a table is removed by its address, at each level, with a child in every entry that two vCPUs hold. None
 * may hit afterwards, and the neighbouring table must have lost nothing.
 */
#include "flush.h"

static void by_address(void **state, unsigned level)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm *vm = spied_vm(state, &opts, NULL);
	uint64_t span = table_span(vm, level), step = leaf_size(vm, level);
	tdp_gpa_t base = GPA > span ? GPA : span;

	if (level + 1 >= vm->info.levels || base + 2 * span > test_vm_size(vm) || span >> 34) {
		close_vm(vm);
		return;
	}
	assert_int_equal(
		test_vm_slot(vm, 0, base, 2 * span, PA + (base - GPA), TDP_SLOT_FORCE_4K, NULL),
		TDP_OK);
	cache_all(vm, range_of(base, span), step);
	cache_all(vm, range_of(base + span, 4 * TEST_PAGE), TEST_PAGE);
	assert_int_equal(tdp_zap_table(vm->mm, table_at(vm, base, level)), TDP_OK);
	assert_gone(vm, range_of(base, span), step);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++)
		for (unsigned page = 0; page < 4; page++)
			assert_int_equal(raw(vm, cpu, base + span + page * TEST_PAGE, TDP_W, NULL),
					 TDP_EMU_OK);
	close_vm(vm);
}

static void nothing_below_is_left(void **state)
{
	for (unsigned level = 0; level < 3; level++)
		by_address(state, level);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(nothing_below_is_left)};

	return test_run("museum/F19", cases, ARRAY_LEN(cases));
}

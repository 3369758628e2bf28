/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L01, Xen 2018 (XSA-277): a guest asked for something on a page of an unexpected kind, the call returned early
 * and kept the lock of the tables; whoever came next waited for ever. Here every refusal of every call that
 * takes a lock is provoked, one thread alone; after each, all other calls still get their locks.
 */
#include "alone.h"

static struct scene {
	struct test_vm vm;
	tdp_gpa_t gpa;
	uint64_t size;
	uint32_t slot, full;
} s;

static int log_twice(void)
{
	assert_int_equal(tdp_dirty_log(s.vm.mm, s.full, TDP_LOG_WRPROT | TDP_LOG_INITIALLY_SET),
			 TDP_OK);
	return tdp_dirty_log(s.vm.mm, s.full, TDP_LOG_DBIT);
}

static int refused(unsigned n)
{
	struct tdp_mm *mm = s.vm.mm;
	struct tdp_range hole = museum_range(s.gpa + s.size - TEST_PAGE, 2 * TEST_PAGE);
	struct tdp_range page = museum_range(s.gpa, TEST_PAGE);
	uint64_t bits;

	switch (n) {
	case 0: return tdp_slot_set_flags(mm, 999, TDP_SLOT_READONLY);
	case 1: return tdp_slot_remove(mm, 999);
	case 2: return tdp_slot_move(mm, 999, 0);
	case 3: return tdp_slot_move(mm, s.slot, test_vm_size(&s.vm) - TEST_PAGE);
	case 4: return tdp_slot_move(mm, s.slot, 0); /* onto the other */
	case 5: return tdp_dirty_log(mm, 999, TDP_LOG_WRPROT);
	case 6: return log_twice() ? TDP_EEXIST : TDP_OK;
	case 7: return tdp_write_track(mm, 0, hole, true);
	case 8: return tdp_write_track(mm, 0, page, false);
	case 9: return tdp_set_owner(mm, 0, hole, 5);
	case 10: return tdp_invalidate_end(mm, page);
	case 11: return tdp_zap_table(mm, MUSEUM_PA);
	case 12: return tdp_dirty_harvest(mm, s.slot, 0, &bits, 1);
	case 13: return tdp_dirty_harvest(mm, 999, 0, &bits, 1);
	case 14: return tdp_dirty_mark(mm, s.slot, s.size / TEST_PAGE, 1);
	case 15: return tdp_zap(mm, 0, hole, TDP_ZAP_STRICT);
	case 16: return tdp_populate(mm, 0, hole, 0, NULL);
	case 17: return test_vm_slot(&s.vm, 0, s.gpa, TEST_PAGE, 0, 0, &(uint32_t){0});
	case 18: return tdp_mm_destroy(mm);
	default: return 0;
	}
}

static void every_refusal(void **state)
{
	museum_start(&s.vm, state, &(struct test_vm_options){.host = alone_host});
	s.gpa = museum_huge(&s.vm);
	s.size = 8 * TEST_PAGE;
	s.full = museum_slot(&s.vm, 0, 8 * TEST_PAGE, MUSEUM_PA);
	s.slot = museum_slot(&s.vm, s.gpa, s.size, MUSEUM_PA + s.gpa);
	alone_probe(&s.vm, s.gpa, s.slot);
	for (unsigned n = 0; n <= 18; n++) {
		assert_true(refused(n) < 0);
		alone_probe(&s.vm, s.gpa, s.slot);
	}
	/* Moved away while a page of it is tracked. */
	assert_int_equal(tdp_write_track(s.vm.mm, 0, museum_range(s.gpa, TEST_PAGE), true), TDP_OK);
	assert_int_equal(tdp_slot_move(s.vm.mm, s.slot, 2 * s.gpa), TDP_EBUSY);
	assert_int_equal(tdp_write_track(s.vm.mm, 0, museum_range(s.gpa, TEST_PAGE), false),
			 TDP_OK);
	alone_probe(&s.vm, s.gpa, s.slot);
	museum_end(&s.vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(every_refusal)};

	return test_run("museum/L01", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One thread, nobody else: a lock that is not free was never dropped, and who waits waits for ever. The host's
 * pause hook ends the test then. And a probe that takes every lock there is.
 */
#ifndef TESTS_MUSEUM_ALONE_H
#define TESTS_MUSEUM_ALONE_H

#include "museum.h"

static inline void alone_relax(void *priv)
{
	(void)priv;
	fail_msg("waits for what nobody will ever give: a lock was kept, or taken twice");
}

static inline void alone_host(struct tdp_env *env)
{
	env->relax = alone_relax;
}

/* Every kind of call on [gpa, gpa + 4 pages), which lies in slot `id`; twice the space behind it is free. */
static inline void alone_probe(struct test_vm *vm, tdp_gpa_t gpa, uint32_t id)
{
	struct tdp_range r = museum_range(gpa, 4 * TEST_PAGE);
	tdp_gpa_t far = test_vm_size(vm) - museum_huge(vm);
	uint32_t other;

	assert_int_equal(tdp_populate(vm->mm, 0, r, 0, NULL), TDP_OK);
	assert_int_equal(test_vm_access(vm, 0, gpa, TDP_R, NULL), TEST_OK);
	assert_int_equal(tdp_write_protect(vm->mm, 0, r), TDP_OK);
	assert_int_equal(tdp_write_track(vm->mm, 0, r, true), TDP_OK);
	assert_int_equal(tdp_write_track(vm->mm, 0, r, false), TDP_OK);
	assert_int_equal(tdp_set_owner(vm->mm, 0, r, 3), TDP_OK);
	assert_int_equal(tdp_set_owner(vm->mm, 0, r, 0), TDP_OK);
	assert_in_range(tdp_age(vm->mm, 0, r, NULL), 0, 1);
	assert_int_equal(tdp_split(vm->mm, 0, r, TDP_PAGE_LG2), TDP_OK);
	assert_int_equal(tdp_collapse(vm->mm, 0, museum_range(0, test_vm_size(vm)), 0, NULL),
			 TDP_OK);
	assert_true(tdp_compact(vm->mm, 0, r) >= 0);
	assert_int_equal(test_vm_slot(vm, 0, far, TEST_PAGE, MUSEUM_PA, 0, &other), TDP_OK);
	assert_int_equal(tdp_slot_move(vm->mm, other, far + TEST_PAGE), TDP_OK);
	assert_int_equal(tdp_slot_set_flags(vm->mm, other, TDP_SLOT_FORCE_4K), TDP_OK);
	assert_int_equal(tdp_dirty_log(vm->mm, other, TDP_LOG_AUTO), TDP_OK);
	assert_int_equal(tdp_dirty_log(vm->mm, other, TDP_LOG_OFF), TDP_OK);
	assert_int_equal(tdp_slot_remove(vm->mm, other), TDP_OK);
	assert_int_equal(tdp_slot_find(vm->mm, 0, gpa, &other, NULL), TDP_OK);
	assert_int_equal(other, id);
	assert_int_equal(tdp_invalidate_begin(vm->mm, r), TDP_OK);
	assert_int_equal(tdp_zap(vm->mm, 0, r, 0), TDP_OK);
	assert_int_equal(tdp_invalidate_end(vm->mm, r), TDP_OK);
	assert_int_equal(tdp_roots_invalidate(vm->mm), TDP_OK);
	assert_int_equal(tdp_roots_reclaim(vm->mm, 0), 0);
	assert_int_equal(test_vm_access(vm, 0, gpa, TDP_R, NULL), TEST_OK);
	assert_int_equal(test_vm_check(vm), 0);
}

#endif

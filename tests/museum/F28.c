/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F28, pKVM on Intel 2023: whether an entry had been present, and so whether to flush, was asked after it had
 * been cleared. The answer was always no.
 *
 * Here everything that takes something away does so once when it is there, which must be flushed for, and
 * once when it is not, which needs no flush.
 */
#include "flush.h"

#define HELD 8u

static uint32_t slot;

static struct tdp_range held(void)
{
	return range_of(GPA, HELD * TEST_PAGE);
}

static int zaps(struct test_vm *vm)
{
	return tdp_zap(vm->mm, 0, held(), 0);
}

static int zaps_one(struct test_vm *vm)
{
	return tdp_zap(vm->mm, 0, range_of(GPA + TEST_PAGE, TEST_PAGE), TDP_ZAP_NOYIELD);
}

static int zaps_lazily(struct test_vm *vm)
{
	return tdp_zap(vm->mm, 0, held(), TDP_ZAP_LAZY);
}

static int keeps_young(struct test_vm *vm)
{
	return tdp_zap(vm->mm, 0, held(), TDP_ZAP_KEEP_YOUNG);
}

static int zaps_block(struct test_vm *vm)
{
	return tdp_zap(vm->mm, 0, range_of(GPA, table_span(vm, 0)), 0);
}

static int gives_away(struct test_vm *vm)
{
	return tdp_set_owner(vm->mm, 0, held(), 2);
}

static int makes_readonly(struct test_vm *vm)
{
	return tdp_slot_set_flags(vm->mm, slot, TDP_SLOT_READONLY | TDP_SLOT_FORCE_4K);
}

static int moves(struct test_vm *vm)
{
	return tdp_slot_move(vm->mm, slot, GPA + 4 * table_span(vm, 0));
}

static int removes(struct test_vm *vm)
{
	return tdp_slot_remove(vm->mm, slot);
}

static int protects(struct test_vm *vm)
{
	return tdp_write_protect(vm->mm, 0, held());
}

static int tracks(struct test_vm *vm)
{
	return tdp_write_track(vm->mm, 0, held(), true);
}

static int logs(struct test_vm *vm)
{
	return tdp_dirty_log(vm->mm, slot, TDP_LOG_WRPROT);
}

static int ages(struct test_vm *vm)
{
	return tdp_age(vm->mm, 0, held(), NULL) < 0 ? TDP_EIO : TDP_OK;
}

static const struct {
	const char *name;
	int (*fn)(struct test_vm *vm);
} mutators[] = {
	{"zap", zaps},
	{"zap of one", zaps_one},
	{"lazy zap", zaps_lazily},
	{"zap that keeps young", keeps_young},
	{"zap of a block", zaps_block},
	{"owner", gives_away},
	{"read-only", makes_readonly},
	{"move", moves},
	{"removal", removes},
	{"write protection", protects},
	{"write tracking", tracks},
	{"logging", logs},
	{"aging", ages},
};

static void once(void **state, unsigned i, bool present)
{
	struct test_vm_options opts = {.cpus = 2, .mm_flags = TDP_MM_FLUSH_ON_AGE};
	struct test_vm *vm = spied_vm(state, &opts, NULL);
	struct tdp_range before = range_of(GPA + 2 * table_span(vm, 0), TEST_PAGE);
	uint64_t flushes;

	assert_int_equal(test_vm_slot(vm, 0, GPA, table_span(vm, 0), PA, TDP_SLOT_FORCE_4K, &slot),
			 TDP_OK);
	assert_int_equal(
		test_vm_slot(vm, 0, before.start, TEST_PAGE, PA + (before.start - GPA), 0, NULL),
		TDP_OK);
	cache_all(vm, before, TEST_PAGE);
	if (present)
		cache_all(vm, held(), TEST_PAGE);
	spy_forget();
	assert_int_equal(mutators[i].fn(vm), TDP_OK);
	flushes = spy.ranges + spy.alls;
	if ((flushes > 0) != present)
		fail_msg("%s, %s: %llu flushes", mutators[i].name, present ? "present" : "absent",
			 (unsigned long long)flushes);
	if (stale_accesses(vm, held(), TEST_PAGE))
		fail_msg("%s: not flushed", mutators[i].name);
	close_vm(vm);
}

static void present_before_not_after(void **state)
{
	for (unsigned i = 0; i < ARRAY_LEN(mutators); i++) {
		once(state, i, true);
		once(state, i, false);
	}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(present_before_not_after)};

	return test_run("museum/F28", cases, ARRAY_LEN(cases));
}

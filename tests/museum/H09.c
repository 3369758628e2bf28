/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H09, Xen's EPT misconfiguration path, 2014: a superpage was split in a local copy of its
 * entry, the walk went on into the new table, and the live entry still held the superpage.
 *
 * Here every call that has to split is followed by a look at the live entry: it is a table, and
 * the page in question is a small leaf below it. Where a table cannot be had (each allocation
 * in turn fails), the call says so, and the whole tree is what it was, bit by bit.
 */
#include "huge.h"

/* More allocations than any path to one page takes: a two-level split in the hostile format. */
#define MOST 64

enum op { ZAP, PROTECT, TRACK, SPLIT, LOG_EAGER, LOG_WRITE, OPS };

/* A call that needs the page at gpa to be a small one. Returns a status. */
static int apply(struct test_vm *vm, enum op op, uint32_t slot, tdp_gpa_t gpa)
{
	struct tdp_range one = {gpa, TEST_PAGE};
	struct test_access a;
	int answer;

	switch (op) {
	case ZAP: return tdp_zap(vm->mm, 0, one, 0);
	case PROTECT: return tdp_write_protect(vm->mm, 0, one);
	case TRACK: return tdp_write_track(vm->mm, 0, one, true);
	case SPLIT: return tdp_split(vm->mm, 0, one, TDP_PAGE_LG2);
	case LOG_EAGER: return tdp_dirty_log(vm->mm, slot, TDP_LOG_WRPROT | TDP_LOG_EAGER_SPLIT);
	default:
		answer = test_vm_access(vm, 0, gpa, TDP_W, &a);
		assert_true(answer == TEST_OK || answer == TEST_STATUS);
		return answer == TEST_OK ? TDP_OK : a.outcome;
	}
}

static struct test_vm *machine(void **state, enum op op, unsigned level, uint32_t *slot)
{
	struct test_vm_options opts = {.chunk_lg2 = TEST_CHUNK_SMALL};
	struct test_vm *vm = open_vm(state, &opts);

	assert_int_equal(test_vm_slot(vm, 0, GPA, leaf_size(vm, level), PA, 0, slot), TDP_OK);
	touch_linear(vm, 0, GPA, TDP_W);
	assert_int_equal(lg2_at(vm, 0, GPA), test_vm_lg2(vm, level));
	if (op == LOG_WRITE) /* arms the huge leaf, and splits it at the write */
		assert_int_equal(tdp_dirty_log(vm->mm, *slot, TDP_LOG_WRPROT), TDP_OK);
	return vm;
}

static void assert_split(struct test_vm *vm, enum op op, unsigned level, tdp_gpa_t gpa)
{
	struct tdp_path path = path_at(vm, 0, gpa);
	struct tdp_range all = {GPA, leaf_size(vm, level)}, one = {gpa, TEST_PAGE};
	struct tdp_emu_exit exit;

	assert_int_equal(path.kind[level], TDP_ENTRY_TABLE);
	assert_int_equal(path.last_level, 0);
	assert_int_equal(path.kind[0], op == ZAP ? TDP_ENTRY_EMPTY : TDP_ENTRY_LEAF);
	if (op == ZAP)
		assert_true(bare_walk(vm, 0, gpa, TDP_R, &exit) != TDP_EMU_OK);
	else
		assert_int_equal(bare_walk(vm, 0, gpa, TDP_R, &exit), TDP_EMU_OK);
	if (op == ZAP || op == PROTECT || op == TRACK)
		assert_cover(vm, all, one, op == ZAP ? 0 : TDP_R | TDP_X, TDP_RWX);
	touch_linear(vm, 0, gpa + TEST_PAGE, TDP_R);
	assert_int_equal(test_vm_check(vm), 0);
}

/* The n-th allocation fails. False: it did not come to that, the call was through. */
static bool attempt(void **state, enum op op, unsigned level, int64_t n)
{
	struct test_dump before, after;
	struct test_vm *vm;
	uint32_t slot;
	tdp_gpa_t gpa;
	uint64_t failed;
	int status;

	vm = machine(state, op, level, &slot);
	gpa = GPA + leaf_size(vm, level) / 2 + 5 * TEST_PAGE;
	before = dump_of(vm, 0);
	test_env_fail(&vm->env, n);
	status = apply(vm, op, slot, gpa);
	failed = atomic_load(&vm->env.failed);
	test_env_fail(&vm->env, 0);
	if (status == TDP_OK) {
		assert_split(vm, op, level, gpa);
	} else {
		assert_int_equal(status, TDP_ENOMEM);
		assert_true(failed > 0);
		after = dump_of(vm, 0);
		assert_int_equal(test_dump_diff(&before, &after, false), 0);
		test_dump_free(&after);
		touch_linear(vm, 0, gpa, TDP_R);
		assert_int_equal(test_vm_check(vm), 0);
	}
	test_dump_free(&before);
	close_vm(vm);
	return status != TDP_OK;
}

static void the_live_entry_becomes_a_table(void **state)
{
	const struct test_format *fmt = *state;
	struct test_vm *vm = open_vm(state, NULL);
	struct huge_levels h = huge_levels(vm);
	unsigned i, op;
	int64_t n;

	close_vm(vm);
	assert_true(h.count > 0);
	for (op = ZAP; op < OPS; op++)
		for (i = 0; i < h.count; i++) {
			/* Splitting every page of a gigabyte is no better than of two megabytes. */
			if (op == LOG_EAGER && i > 0)
				continue;
			assert_false(attempt(state, op, h.level[i], 0));
			/*
			 * A fault's tables are taken ahead, and a chunk that has room for a
			 * root of many pages has room for more: then no allocation is needed.
			 */
			for (n = 1; n < MOST && attempt(state, op, h.level[i], n); n++)
				;
			assert_true(n < MOST);
			assert_true(n > 1 || op == LOG_WRITE || fmt->root_pages > 1);
		}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(the_live_entry_becomes_a_table)};

	return test_run("museum/H09", cases, ARRAY_LEN(cases));
}

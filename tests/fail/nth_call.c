/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Somebody whom an operation asks refuses, at each question in turn: the backing (resolve), the walker (root_load), the
 * caller's own visitor. The status comes back as it is, nothing leaks, what is resolved is released once,
 * what the operation promises to leave alone is bit for bit the same, and trying again works.
 */
#include "operations.h"

#include "mm/slot.h"

/* A status to refuse with, and what the caller is told. */
static const struct {
	enum asked who;
	int said, told;
} refusals[] = {
	{RESOLVE, TDP_EPERM, TDP_EPERM},
	{RESOLVE, TDP_EAGAIN, TDP_EAGAIN}, /* a fault that comes again: RETRY */
	{RESOLVE, 7, TDP_EFAULT},          /* no status at all */
	{LOAD, TDP_EPERM, TDP_EPERM},
	{VISIT, TDP_EBUSY, TDP_EBUSY},
};

/* What populate said it has done is mapped; behind the huge page that it came to, nothing is. */
static void came_so_far(struct bench *b)
{
	tdp_gpa_t start = inner(b).start, end = start + b->done;
	tdp_gpa_t next = (end + b->block - 1) & ~(b->block - 1), gpa;

	for (gpa = start; gpa < b->page0 + BLOCKS * b->block; gpa += TEST_PAGE)
		if (gpa < end || gpa >= next)
			assert_int_equal(translate(b->vm, 0, gpa, NULL),
					 gpa < end ? TDP_OK : TDP_ENOENT);
}

/* Who asks holds the slot meanwhile, and a removal would wait for him. */
static bool slot_is_free(struct bench *b)
{
	const struct tdpi_slot *slot;
	bool is_free;

	tdpi_rcu_lock(b->vm->mm);
	slot = tdpi_slot_by_id(b->vm->mm, b->slot);
	is_free = !slot || slot->refs == 0;
	tdpi_rcu_unlock(b->vm->mm);
	return is_free;
}

static void holds(struct bench *b, const struct operation *op, const struct before *before,
		  size_t how, int64_t n, int status)
{
	bool without = op->refusal == WITHOUT && refusals[how].who == RESOLVE;

	if (without ? status < 0 : status != refusals[how].told)
		fail_msg("%s, refused with %d: %s (%d)", op->name, refusals[how].said,
			 tdp_status_name(status), status);
	if (op->refusal == PART)
		came_so_far(b);
	else /* without: one question for each huge page, all before this one were answered */
		compare(b, op->name, before, op->refusal == WHOLE,
			without ? (size_t)((uint64_t)(n - 1) * b->block / TEST_PAGE) : 0);
	if (refusals[how].who == LOAD) /* then none is loaded */
		assert_int_equal(fault(b->vm, 0, b->page0, TDP_R), TDP_ENOENT);
	assert_true(test_backing_balanced(&b->mem));
	assert_true(slot_is_free(b));
}

/* The n-th question is refused. */
static void try_one(void **state, const struct operation *op, size_t how, int64_t n)
{
	struct before before;
	struct bench b;
	int status;

	bench_open(&b, state, op->state, true);
	before = before_of(&b);
	b.n = n;
	b.status = refusals[how].said;
	b.refuses = refusals[how].who;
	status = op->run(&b);
	b.refuses = NOBODY;
	assert_true(b.refused != 0);
	holds(&b, op, &before, how, n, status);
	assert_int_equal(test_vm_check(b.vm), 0);
	status = op->run(&b);
	if (status < 0)
		fail_msg("%s again: %s", op->name, tdp_status_name(status));
	before_free(&before);
	bench_close(&b);
}

/* How often it asks whom, when nobody refuses. */
static void count(void **state, const struct operation *op, uint64_t asked[ASKED])
{
	struct bench b;
	int status;

	bench_open(&b, state, op->state, true);
	memset(b.asked, 0, sizeof(b.asked));
	status = op->run(&b);
	if (status < 0)
		fail_msg("%s: %s", op->name, tdp_status_name(status));
	memcpy(asked, b.asked, sizeof(b.asked));
	bench_close(&b);
}

static void every_question(void **state)
{
	uint64_t asked[ASKED];
	unsigned asking[ASKED] = {0};

	for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
		count(state, &operations[i], asked);
		for (size_t how = 0; how < ARRAY_LEN(refusals); how++)
			for (int64_t n = 1; n <= (int64_t)asked[refusals[how].who]; n++)
				try_one(state, &operations[i], how, n);
		for (unsigned who = 0; who < ASKED; who++)
			asking[who] += asked[who] != 0;
	}
	/* Who asks by its nature: else nothing was tried here. */
	assert_true(asking[RESOLVE] >= 6);
	assert_true(asking[LOAD] >= 3);
	assert_true(asking[VISIT] >= 4);
}

static void resolve_fails(void **state)
{
	struct test_backing mem;
	struct tdp_slot_desc desc;
	struct test_access a;
	struct test_dump before, after;
	struct test_vm vm;
	struct tdp_range range = {0, 64 * TEST_PAGE}, hole = {7 * TEST_PAGE, TEST_PAGE};
	uint64_t done = ~(uint64_t)0;
	uint32_t id;

	assert_int_equal(test_vm_init(&vm, *state, NULL), TDP_OK);
	assert_int_equal(test_backing_init(&mem, &vm.env, 0, range.size, PA, TDP_RWX, 12), TDP_OK);
	desc = test_backing_slot(&mem, 0, 0);
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), TDP_OK);
	test_backing_fail(&mem, hole, true);
	assert_int_equal(test_vm_touch(&vm, 0, 3 * TEST_PAGE, TDP_R), 0);
	assert_int_equal(test_dump_take(&vm, 0, &before), TDP_OK);
	assert_int_equal(test_vm_access(&vm, 0, hole.start, TDP_W, &a), TEST_STATUS);
	assert_int_equal(a.outcome, TDP_EFAULT);
	assert_int_equal(test_dump_take(&vm, 0, &after), TDP_OK);
	assert_int_equal(test_dump_diff(&before, &after, true), 0);
	test_dump_free(&before);
	test_dump_free(&after);
	assert_true(test_backing_balanced(&mem));

	assert_int_equal(tdp_populate(vm.mm, 0, range, 0, &done), TDP_EFAULT);
	assert_int_equal(done, hole.start);
	assert_true(test_backing_balanced(&mem));
	mem.fail_status = TDP_EAGAIN;
	vm.max_retries = 0;
	assert_int_equal(test_vm_access(&vm, 0, hole.start, TDP_W, &a), TEST_OUTCOME);
	assert_int_equal(a.outcome, TDP_FAULT_RETRY);

	test_backing_fail(&mem, hole, false);
	assert_int_equal(test_vm_touch(&vm, 0, hole.start, TDP_W), 0);
	assert_int_equal(tdp_populate(vm.mm, 0, range, 0, &done), TDP_OK);
	assert_int_equal(done, range.size);
	assert_true(test_backing_balanced(&mem));
	assert_true(mem.released_mapped >= 64 && mem.released_writable >= 1);
	assert_true(mem.released_mapped <= mem.releases);
	assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
	test_backing_fini(&mem);
	assert_int_equal(test_vm_check(&vm), 0);
	assert_int_equal(test_vm_fini(&vm), 0);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(every_question),
		TEST_CASE(resolve_fails),
	};

	return test_run("nth_call", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an acquire is for that meets a release (lib/ORDERING.md): it hands over what is written by plain stores before.
 * The second thread comes when the first is through, told by a relaxed flag, which orders nothing. So the edge under
 * test is the only one, and without it what the second reads is a data race: ThreadSanitizer's to see, on any machine
 * and whenever the threads happen to run.
 */
#include "unit/steps.h"

#include <sched.h>

#include <tdp/share.h>

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

static struct spy spy;
static tdp_pa_t root_pa;
static unsigned flushed; /* written by the flush of the first, plainly */
static _Atomic unsigned stage;

static void until(unsigned n)
{
	while (atomic_load_explicit(&stage, memory_order_relaxed) != n)
		sched_yield();
}

static void now(unsigned n)
{
	atomic_store_explicit(&stage, n, memory_order_relaxed);
}

struct second {
	int (*fn)(struct test_vm *vm);
	int answer;
};

/* Registered before the first begins, as that takes a lock. */
static void second_thread(struct test_vm *vm, void *arg)
{
	struct second *second = arg;

	now(1);
	until(2);
	second->answer = second->fn(vm);
	now(3);
}

/* Both answers must be these. */
static void one_then_other(int (*first)(struct test_vm *vm), int (*second)(struct test_vm *vm),
			   int answers)
{
	struct second other = {.fn = second};
	struct aside aside = {&spy.vm, second_thread, &other};
	pthread_t thread;
	int answer;

	now(0);
	assert_int_equal(pthread_create(&thread, NULL, aside_thread, &aside), 0);
	until(1);
	answer = first(&spy.vm);
	now(2);
	until(3);
	pthread_join(thread, NULL);
	assert_int_equal(answer, answers);
	assert_int_equal(other.answer, answers);
}

static void up(void **state, uint64_t size)
{
	struct test_vm_options opts = {.cpus = 2};

	memset(&spy, 0, sizeof(spy));
	spy_up(&spy, state, &opts);
	add_slot(&spy.vm, 0, GIB, size, SLOT_PA, 0);
}

/* No lock is taken for tables later. */
static void ready_to_fault(void)
{
	for (uint32_t i = 0; i < 2; i++) {
		load(&spy.vm, i);
		assert_int_equal(tdp_vcpu_topup(spy.vm.cpu[i].vcpu), TDP_OK);
	}
}

/* A1: a table, behind the entry that points to it. */
static int first_page(struct test_vm *vm)
{
	return fault(vm, 0, GIB, TDP_W);
}

/* As the MMU does, and one entry beside the way by a plain load. */
static int walks_as_the_mmu(struct test_vm *vm)
{
	const uint64_t *table = test_env_mem(&vm->env, root_pa);
	uint64_t e = 0, beside = 0;

	for (unsigned level = 4; level-- > 0;) {
		unsigned i = GIB >> (12 + 9 * level) & 511;

		e = __atomic_load_n(&table[i], __ATOMIC_ACQUIRE);
		beside |= table[i ^ 1];
		table = test_env_mem(&vm->env, e & (((uint64_t)1 << 52) - TEST_PAGE));
	}
	/* EPT: read, write and execute are bits 0 to 2, none of them: not present. */
	return (e & 7) == 7 && !(beside & 7) ? TDP_FAULT_FIXED : TDP_EIO;
}

static void a_table_is_complete(void **state)
{
	struct tdp_root *root;

	up(state, 4 * TEST_PAGE);
	ready_to_fault();
	root = root_of(&spy.vm, 0);
	root_pa = view_of(&spy.vm, root).pa;
	one_then_other(first_page, walks_as_the_mmu, TDP_FAULT_FIXED);
	tdp_root_put(spy.vm.mm, root);
	vm_down(&spy.vm);
}

static int splits(struct test_vm *vm)
{
	return tdp_split(vm->mm, 0, range_of(GIB, TEST_PAGE), 12);
}

static int walks(struct test_vm *vm)
{
	struct tdp_path path = {.size = (uint32_t)sizeof(path)};
	int ret = tdp_walk_gpa(vm->mm, 0, GIB, &path);

	return ret || path.last_level == 0 ? ret : TDP_EIO;
}

static void a_walk_finds_it_complete(void **state)
{
	up(state, 2 * MIB);
	ready_to_fault();
	assert_int_equal(first_page(&spy.vm), TDP_FAULT_FIXED);
	one_then_other(splits, walks, TDP_OK);
	vm_down(&spy.vm);
}

/* A3: what a root is, behind the list. */
static int gets_the_root(struct test_vm *vm)
{
	struct tdp_root *root;
	int ret = tdp_root_get(vm->mm, tdp_role_root(vm->mm, 0), &root);

	return ret ? ret : tdp_root_put(vm->mm, root);
}

static int zaps(struct test_vm *vm)
{
	return tdp_zap(vm->mm, 0, range_of(GIB, TEST_PAGE), TDP_ZAP_LAZY);
}

static void a_root_is_complete(void **state)
{
	up(state, 4 * TEST_PAGE);
	one_then_other(gets_the_root, gets_the_root, TDP_OK);
	vm_down(&spy.vm);
}

static void a_root_on_the_list_is_complete(void **state)
{
	up(state, 4 * TEST_PAGE);
	one_then_other(gets_the_root, zaps, TDP_OK);
	vm_down(&spy.vm);
}

/* A4b: the flush, behind the number that says that it is done. */
static void flushes(struct spy *s, struct tdp_range range)
{
	(void)s;
	(void)range;
	flushed++;
}

/* It relies on the other's flush. */
static int fills(struct test_vm *vm)
{
	int ret = fault(vm, 1, GIB, TDP_W);

	return ret == TDP_FAULT_FIXED && flushed == 1 ? TDP_OK : TDP_EIO;
}

static void done_is_flushed(void **state)
{
	up(state, 4 * TEST_PAGE);
	ready_to_fault();
	assert_int_equal(first_page(&spy.vm), TDP_FAULT_FIXED);
	flushed = 0;
	spy.on_flush = flushes;
	one_then_other(zaps, fills, TDP_OK);
	vm_down(&spy.vm);
}

/* S1: a part, behind the number of those that are left. Nothing else stands between the bitmap and its reader. */
static struct tdp_share share;
static uint64_t bits;

static int helps(struct test_vm *vm)
{
	(void)vm;
	return tdp_share_help(&share, 0);
}

static int owns(struct test_vm *vm)
{
	int ret = tdp_share_finish(&share, NULL);

	(void)vm;
	return ret == TDP_OK && bits == 1 ? TDP_OK : TDP_EIO;
}

static void a_part_is_complete(void **state)
{
	struct tdp_job job = {.size = (uint32_t)sizeof(job), .kind = TDP_JOB_HARVEST};

	up(state, 4 * TEST_PAGE);
	ready_to_fault();
	assert_int_equal(tdp_slot_find(spy.vm.mm, 0, GIB, &job.slot, NULL), TDP_OK);
	assert_int_equal(tdp_dirty_log(spy.vm.mm, job.slot, TDP_LOG_WRPROT), TDP_OK);
	assert_int_equal(first_page(&spy.vm), TDP_FAULT_FIXED);
	bits = 0;
	job.range = range_of(0, 4 * TEST_PAGE);
	job.bitmap = &bits;
	job.words = 1;
	assert_int_equal(tdp_share_begin(spy.vm.mm, &share, &job), TDP_OK);
	one_then_other(helps, owns, TDP_OK);
	vm_down(&spy.vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(a_table_is_complete, first_format),
		TEST_CASE_IF(a_walk_finds_it_complete, first_format),
		TEST_CASE_IF(a_root_is_complete, first_format),
		TEST_CASE_IF(a_root_on_the_list_is_complete, first_format),
		TEST_CASE_IF(done_is_flushed, first_format),
		TEST_CASE_IF(a_part_is_complete, first_format),
	};

#ifndef UNDER_TSAN
	puts("only ThreadSanitizer sees what is missing here");
	return 77;
#endif
	return test_run("edges", cases, ARRAY_LEN(cases));
}

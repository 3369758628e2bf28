/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F02, KVM x86 2021: a zap went over several roots; when it gave way while it was in the second one, only what
 * that one owed was looked at, and the flush for the first was forgotten until later. Whoever ran meanwhile
 * was told that the memory was free.
 *
 * Here long operations over two address spaces give way at every opportunity. At each of these moments no
 * vCPU may reach anything by its TLB that the tables no longer give.
 */
#include "flush.h"

static unsigned yields, owed;
static uint64_t table_size;

/* Blocks of one table each, in both address spaces. */
#define BLOCKS 3u

static tdp_gpa_t block(unsigned i)
{
	return GPA + i * table_size;
}

static void gave_way(void *arg)
{
	(void)arg;
	yields++;
	for (unsigned i = 0; i < BLOCKS; i++)
		owed += stale_accesses(spy.vm, range_of(block(i), 4 * TEST_PAGE), TEST_PAGE);
}

/* vCPU 0 and 1 are in address space 0, 2 and 3 in 1; each has a few pages of each block. */
static struct test_vm *two_roots(void **state)
{
	struct test_vm_options opts = {.cpus = 4};
	struct test_vm *vm = spied_vm(state, &opts, NULL);

	table_size = table_span(vm, 0);
	for (uint32_t as_id = 0; as_id < 2; as_id++)
		assert_int_equal(test_vm_slot(vm, as_id, GPA, BLOCKS * table_size, PA,
					      TDP_SLOT_FORCE_4K, NULL),
				 TDP_OK);
	for (unsigned cpu = 0; cpu < 4; cpu++) {
		assert_int_equal(tdp_vcpu_set_as(vm->cpu[cpu].vcpu, cpu / 2), TDP_OK);
		assert_int_equal(tdp_vcpu_load(vm->cpu[cpu].vcpu), TDP_OK);
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		cache_all(vm, range_of(block(i), 4 * TEST_PAGE), TEST_PAGE);
	yields = owed = 0;
	vm->env.on_yield = gave_way;
	test_env_yield(&vm->env, TEST_YIELD_ALWAYS, 0);
	return vm;
}

static void done(struct test_vm *vm)
{
	assert_true(yields > 0);
	assert_int_equal(owed, 0);
	/* And nothing is left when it is over. */
	gave_way(NULL);
	assert_int_equal(owed, 0);
	test_env_yield(&vm->env, TEST_YIELD_NEVER, 0);
	close_vm(vm);
}

static void zap_of_pages(void **state)
{
	struct test_vm *vm = two_roots(state);

	/* From the middle of a table to the middle of another one. */
	assert_int_equal(tdp_zap(vm->mm, TDP_AS_ALL, range_of(GPA + TEST_PAGE, 2 * table_size), 0),
			 TDP_OK);
	done(vm);
}

static void zap_of_tables(void **state)
{
	struct test_vm *vm = two_roots(state);

	assert_int_equal(
		tdp_zap(vm->mm, TDP_AS_ALL, range_of(GPA, BLOCKS * table_size), TDP_ZAP_KEEP_YOUNG),
		TDP_OK);
	done(vm);
}

static void write_protection(void **state)
{
	struct test_vm *vm = two_roots(state);

	assert_int_equal(tdp_write_protect(vm->mm, TDP_AS_ALL, range_of(GPA, BLOCKS * table_size)),
			 TDP_OK);
	done(vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(zap_of_pages), TEST_CASE(zap_of_tables),
						 TEST_CASE(write_protection)};

	return test_run("museum/F02", cases, ARRAY_LEN(cases));
}

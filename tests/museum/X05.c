/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * X05, KVM x86 2023: when memslots went, every root was given to a queue of workers on all CPUs, which were busy
 * for tens of milliseconds, whatever priority the caller had. Here to invalidate costs as much as there are
 * roots and frees nothing; the tables are freed by whoever asks for that, on his thread, and he gives way: a
 * guest's faults in between are served at once, each; and then it is done, and done once.
 */
#include "museum.h"

#define TABLES 40u

static struct {
	struct test_vm *vm;
	unsigned served, slow, next;
	pthread_t caller;
	bool elsewhere;
} s;

static void guest_runs(void *arg)
{
	struct test_access a;
	tdp_gpa_t gpa = s.next++ % TABLES * museum_huge(s.vm);

	(void)arg;
	if (test_vm_access(s.vm, 1, gpa, TDP_W, &a) == TEST_OK && a.faults <= 1 && a.retries == 0)
		s.served++;
	else
		s.slow++;
}

static void on_yield(void *arg)
{
	(void)arg;
	s.elsewhere |= !pthread_equal(pthread_self(), s.caller);
	museum_meanwhile(s.vm, guest_runs, NULL);
}

static void in_the_caller(void **state)
{
	struct test_vm vm;
	uint64_t tables, asked;

	museum_start(&vm, state, &(struct test_vm_options){.cpus = 2});
	memset(&s, 0, sizeof(s));
	s.vm = &vm;
	s.caller = pthread_self();
	assert_int_equal(test_vm_slot(&vm, 0, 0, TABLES * museum_huge(&vm), MUSEUM_PA,
				      TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	for (unsigned i = 0; i < TABLES; i++)
		museum_reaches(&vm, i * museum_huge(&vm), TDP_W, MUSEUM_PA + i * museum_huge(&vm));
	tables = atomic_load(&vm.env.tables);
	vm.env.on_yield = on_yield;
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	asked = atomic_load(&vm.env.yield_asked);

	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	test_rcu_run();
	assert_int_equal(atomic_load(&vm.env.tables), tables);
	assert_int_equal(atomic_load(&vm.env.yield_asked), asked);
	assert_int_equal(tdp_vcpu_load(vm.cpu[1].vcpu), TDP_OK);
	/* Step by step, so that somebody has to be asked. */
	for (unsigned i = 0; i < 1000 && tdp_roots_reclaim(vm.mm, 1) == 1; i++)
		on_yield(NULL);
	assert_int_equal(tdp_vcpu_load(vm.cpu[0].vcpu), TDP_OK);
	assert_true(s.served > 0);
	assert_int_equal(s.slow, 0);
	assert_false(s.elsewhere);
	asked = atomic_load(&vm.env.yield_asked);
	assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
	assert_int_equal(atomic_load(&vm.env.yield_asked), asked);
	test_env_yield(&vm.env, TEST_YIELD_NEVER, 0);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(in_the_caller)};

	return test_run("museum/X05", cases, ARRAY_LEN(cases));
}

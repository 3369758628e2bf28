/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L07, KVM x86 2025: a prefault tried again and again, inside its read-side section, until a memslot that was
 * being changed was there again; the change waited for that section to end. Here populating asks whether to give
 * way between any two tries, and never inside a section; and while one thread populates without pause another
 * moves the slot to and fro: both get on.
 */
#include "museum.h"

#define PAGES 16u
#define MOVES 200u

static struct {
	struct test_vm *vm;
	tdp_gpa_t gpa[2];
	_Atomic bool stop;
	uint64_t rounds;
	int odd;
} s;

static void *populates(void *arg)
{
	const struct tdp_rcu_ops *rcu = s.vm->env.env.rcu;

	(void)arg;
	rcu->thread_register();
	while (!atomic_load(&s.stop)) {
		struct tdp_range r = museum_range(s.gpa[s.rounds++ % 2], PAGES * TEST_PAGE);
		int ret = tdp_populate(s.vm->mm, 0, r, 0, NULL);

		if (ret != TDP_OK && ret != TDP_ENOENT && ret != TDP_EAGAIN)
			s.odd = ret;
	}
	rcu->thread_unregister();
	return NULL;
}

static void beside_moves(void **state)
{
	struct test_vm vm;
	pthread_t thread;
	uint32_t slot;

	museum_start(&vm, state, NULL);
	memset(&s, 0, sizeof(s));
	s.vm = &vm;
	s.gpa[0] = museum_huge(&vm);
	s.gpa[1] = 4 * museum_huge(&vm);
	slot = museum_slot(&vm, s.gpa[0], PAGES * TEST_PAGE, MUSEUM_PA);

	/* The host looks at every yield: it must not be in a section. */
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	assert_int_equal(tdp_populate(vm.mm, 0, museum_range(s.gpa[0], PAGES * TEST_PAGE), 0, NULL),
			 TDP_OK);
	assert_int_equal(tdp_populate(vm.mm, 0, museum_range(s.gpa[1], TEST_PAGE), 0, NULL),
			 TDP_ENOENT);
	assert_true(atomic_load(&vm.env.yields) > 0);
	assert_int_equal(atomic_load(&vm.env.violations), 0);

	assert_int_equal(pthread_create(&thread, NULL, populates, NULL), 0);
	for (unsigned i = 0; i < MOVES; i++)
		assert_int_equal(tdp_slot_move(vm.mm, slot, s.gpa[(i + 1) % 2]), TDP_OK);
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(s.odd, 0);
	museum_reaches(&vm, s.gpa[0], TDP_W, MUSEUM_PA);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(beside_moves)};

	return test_run("museum/L07", cases, ARRAY_LEN(cases));
}

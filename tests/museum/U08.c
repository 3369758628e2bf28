/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * U08, Xen 2013: when a domain died its own tables were destroyed first and the nested ones after, which then
 * unlinked themselves from what was gone. What lives below an mm here are vCPUs and roots that somebody holds.
 * They are let go in every order, and before each step somebody tries to destroy the mm: refused, with
 * nothing changed, until the last one has gone.
 */
#include "museum.h"

#define THINGS 4u

struct scene {
	struct test_vm vm;
	struct tdp_root *root[2];
};

static void scene_start(struct scene *s, void **state)
{
	museum_start(&s->vm, state, &(struct test_vm_options){.cpus = 2});
	for (unsigned as = 0; as < 2; as++) {
		assert_int_equal(
			test_vm_slot(&s->vm, as, 0, museum_huge(&s->vm), MUSEUM_PA, 0, NULL),
			TDP_OK);
		assert_int_equal(tdp_populate(s->vm.mm, as, museum_range(0, TEST_PAGE), 0, NULL),
				 TDP_OK);
		assert_int_equal(tdp_root_get(s->vm.mm, tdp_role_root(s->vm.mm, as), &s->root[as]),
				 TDP_OK);
	}
	museum_reaches(&s->vm, 0, TDP_W, MUSEUM_PA);
}

static void let_go(struct scene *s, unsigned thing)
{
	if (thing < 2) {
		tdp_vcpu_destroy(s->vm.cpu[thing].vcpu);
		s->vm.cpu[thing].vcpu = NULL;
	} else {
		assert_in_range(tdp_root_put(s->vm.mm, s->root[thing - 2]), 0, 1);
	}
}

static void one_order(void **state, const unsigned *order, bool invalid)
{
	struct scene s;
	struct tdp_mapping m;

	scene_start(&s, state);
	if (invalid)
		assert_int_equal(tdp_roots_invalidate(s.vm.mm), TDP_OK);
	for (unsigned i = 0; i < THINGS; i++) {
		assert_int_equal(tdp_mm_destroy(s.vm.mm), TDP_EBUSY);
		assert_int_equal(museum_mapped(&s.vm, 0, &m), !invalid);
		assert_int_equal(test_vm_check(&s.vm), 0);
		let_go(&s, order[i]);
	}
	assert_int_equal(tdp_mm_destroy(s.vm.mm), 0);
	s.vm.mm = NULL;
	assert_int_equal(test_vm_fini(&s.vm), 0);
}

static void every_order(void **state)
{
	for (unsigned n = 0; n < 4 * 3 * 2; n++) {
		unsigned order[THINGS] = {0, 1, 2, 3}, code = n;

		for (unsigned i = 0; i < THINGS; i++) {
			unsigned j = i + code % (THINGS - i), swap = order[i];

			code /= THINGS - i;
			order[i] = order[j];
			order[j] = swap;
		}
		one_order(state, order, n % 2);
	}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(every_order)};

	return test_run("museum/U08", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R12, KVM arm64 2018: several vCPUs faulted on one block; each of them broke the entry and made it again,
 * exactly as it was, and so threw the others out, who faulted again, for ever. Here all vCPUs of a guest fault
 * on one page at once, each having asked the backing before any has mapped (its memory type has changed, which
 * takes a break where breaks are needed): one mends it, the others find it mended, one break at most.
 */
#include "museum.h"

#define CPUS 5u

static struct {
	struct test_vm *vm;
	tdp_gpa_t gpa;
	uint32_t prot;
	unsigned next; /* vCPU that faults while the one before it asks */
	int outcome[CPUS];
} scene;

static void fault(void *arg)
{
	unsigned cpu = *(unsigned *)arg;
	struct tdp_fault f = {.gpa = scene.gpa, .access = TDP_X};

	scene.outcome[cpu] = tdp_fault(scene.vm->cpu[cpu].vcpu, &f, NULL);
}

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		   struct tdp_page *page)
{
	(void)arg;
	(void)want_lg2;
	(void)access;
	if (scene.next && scene.next < CPUS) {
		unsigned cpu = scene.next++;

		museum_meanwhile(scene.vm, fault, &cpu);
	}
	page->pa = MUSEUM_PA + gpa;
	page->lg2 = TDP_PAGE_LG2;
	page->prot = scene.prot;
	return TDP_OK;
}

static struct tdp_stats stats_of(struct test_vm *vm)
{
	struct tdp_stats stats = {.size = (uint32_t)sizeof(stats)};

	assert_int_equal(tdp_stats(vm->mm, &stats), TDP_OK);
	return stats;
}

static void all_at_once(void **state)
{
	struct tdp_backing_ops ops = {.size = (uint32_t)sizeof(ops), .resolve = resolve};
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc), .backing = &ops};
	struct tdp_stats before, after;
	struct test_vm vm;
	unsigned first = 0, fixed = 0;
	uint32_t id;

	museum_start(&vm, state, &(struct test_vm_options){.cpus = CPUS});
	memset(&scene, 0, sizeof(scene));
	scene.vm = &vm;
	scene.gpa = museum_huge(&vm);
	desc.gpa = museum_range(scene.gpa, TEST_PAGE);
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), TDP_OK);
	scene.prot = TDP_R | TDP_W;
	for (unsigned cpu = 0; cpu < CPUS; cpu++)
		assert_int_equal(test_vm_access(&vm, cpu, scene.gpa, TDP_W, NULL), TEST_OK);

	scene.prot = TDP_RWX | TDP_MT_UC;
	scene.next = 1;
	before = stats_of(&vm);
	fault(&first);
	after = stats_of(&vm);
	for (unsigned cpu = 0; cpu < CPUS; cpu++) {
		fixed += scene.outcome[cpu] == TDP_FAULT_FIXED;
		assert_in_range(scene.outcome[cpu], TDP_FAULT_FIXED, TDP_FAULT_SPURIOUS);
	}
	assert_int_equal(fixed, 1);
	assert_in_range(after.flush_cause[TDP_FLUSH_BREAK] - before.flush_cause[TDP_FLUSH_BREAK], 0,
			1);
	assert_in_range(after.flush_range + after.flush_all - before.flush_range - before.flush_all,
			0, 2);
	for (unsigned cpu = 0; cpu < CPUS; cpu++)
		assert_int_equal(test_vm_access(&vm, cpu, scene.gpa, TDP_X, NULL), TEST_OK);
	assert_int_equal(stats_of(&vm).flush_cause[TDP_FLUSH_BREAK],
			 after.flush_cause[TDP_FLUSH_BREAK]);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(all_at_once)};

	return test_run("museum/R12", cases, ARRAY_LEN(cases));
}

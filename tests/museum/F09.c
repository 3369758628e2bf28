/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F09, Xen on Arm 2019: the CPUs' TLB was flushed, then pages and tables were let go, and the IOMMU that used
 * the same tables was flushed last, or not at all because the question was whether it had its own.
 *
 * Here two domains walk one tree, and the second acknowledges every flush late. Until it has done so it goes
 * on walking, while another thread does all it can to free what waits: it may reach no freed table and no
 * page that was given away.
 */
#include "flush.h"

/* vCPU 0 is the first domain, vCPU 1 the late one. */
enum { CPU, DEVICE };

static unsigned late;
static struct tdp_range watched;

/* Somebody else frees what may be freed by now. */
static void frees_all(void *arg)
{
	struct test_vm *vm = arg;

	tdp_roots_reclaim(vm->mm, 0);
	vm->env.env.rcu->barrier();
}

static void device_goes_on(struct test_vm *vm)
{
	late++;
	if (!test_rcu_in_section())
		museum_meanwhile(vm, frees_all, vm);
	for (uint64_t at = 0; at < watched.size; at += TEST_PAGE)
		raw(vm, DEVICE, watched.start + at, TDP_R, NULL);
}

static void range_late(void *ctx, struct tdp_range range)
{
	tdp_emu_backend.flush_vcpu(ctx, spy.vm->cpu[CPU].emu, range);
	device_goes_on(spy.vm);
	tdp_emu_backend.flush_range(ctx, range);
}

static void all_late(void *ctx)
{
	range_late(ctx, museum_range(0, test_vm_size(spy.vm)));
}

static void reload_late(void *ctx)
{
	tdp_emu_backend.flush_vcpu(ctx, spy.vm->cpu[CPU].emu,
				   museum_range(0, test_vm_size(spy.vm)));
	device_goes_on(spy.vm);
	tdp_emu_backend.reload(ctx);
}

static void second_domain(struct tdp_backend_ops *ops)
{
	ops->flush_range = range_late;
	ops->flush_all = all_late;
	ops->reload = reload_late;
}

static struct test_vm *two_domains(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm *vm = spied_vm(state, &opts, second_domain);

	watched = range_of(GPA, table_span(vm, 0));
	assert_int_equal(test_vm_slot(vm, 0, GPA, watched.size, PA, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	/* The device holds some pages, and knows where to look for the others. */
	for (uint64_t at = 0; at < watched.size; at += TEST_PAGE)
		touch_linear(vm, at / TEST_PAGE % 4 ? CPU : DEVICE, GPA + at, TDP_W);
	late = 0;
	return vm;
}

/* Whatever was given away when the call returned. */
static void given_away(struct test_vm *vm)
{
	assert_true(late > 0);
	assert_int_equal(tdp_emu_forbid(vm->emu, PA, watched.size), TDP_OK);
	device_goes_on(vm);
	assert_int_equal(tdp_emu_allow(vm->emu, PA, watched.size), TDP_OK);
	close_vm(vm);
}

static void zap_of_a_table(void **state)
{
	struct test_vm *vm = two_domains(state);

	assert_int_equal(tdp_zap(vm->mm, 0, watched, 0), TDP_OK);
	given_away(vm);
}

static void zap_of_pages(void **state)
{
	struct test_vm *vm = two_domains(state);

	assert_int_equal(tdp_zap(vm->mm, 0, watched, TDP_ZAP_KEEP_YOUNG), TDP_OK);
	assert_true(tdp_compact(vm->mm, 0, range_of(0, test_vm_size(vm))) > 0);
	given_away(vm);
}

static void all_roots(void **state)
{
	struct test_vm *vm = two_domains(state);

	assert_int_equal(tdp_roots_invalidate(vm->mm), TDP_OK);
	assert_int_equal(tdp_roots_reclaim(vm->mm, 0), 0);
	given_away(vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(zap_of_a_table), TEST_CASE(zap_of_pages),
						 TEST_CASE(all_roots)};

	return test_run("museum/F09", cases, ARRAY_LEN(cases));
}

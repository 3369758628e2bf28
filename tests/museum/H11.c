/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H11, Xen's alternate views, 2022: a lookup in a view answered with the size that was asked
 * for instead of the size that was found. The host's view had a superpage, the alternate one
 * differed in a single page; propagating a neighbour wrote the superpage over the page that
 * differed.
 *
 * Here two address spaces show the same memory, and one page differs in the second. Neighbours
 * are faulted in, populated and collapsed with the huge size wanted and allowed by the slot:
 * each mapping is as large as what was found, the page that differs stays, and the first view
 * does not change.
 */
#include "huge.h"

/* Another page of memory than the rest, in view 1 only. */
#define ODD_PA (PA + ((tdp_pa_t)1 << 41))

struct view {
	tdp_gpa_t odd; /* 0: none */
	unsigned asked_large;
};

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		   struct tdp_page *page)
{
	struct view *v = arg;
	uint64_t frame = gpa & ~(TEST_PAGE - 1);

	(void)access;
	v->asked_large += want_lg2 > TDP_PAGE_LG2;
	page->pa = frame == v->odd ? ODD_PA : PA + (frame - GPA);
	page->lg2 = want_lg2;
	/* The largest block around gpa that does not hold the odd page. */
	while (v->odd && page->lg2 > TDP_PAGE_LG2 && frame >> page->lg2 == v->odd >> page->lg2)
		page->lg2--;
	page->prot = TDP_RWX;
	return TDP_OK;
}

static const struct tdp_backing_ops ops = {.size = (uint32_t)sizeof(ops), .resolve = resolve};

static void add_view(struct test_vm *vm, uint32_t as_id, uint64_t size, struct view *view)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc), .backing = &ops};
	uint32_t id;

	desc.gpa = range_of(GPA, size);
	desc.as_id = as_id;
	desc.backing_arg = view;
	assert_int_equal(tdp_slot_add(vm->mm, &desc, &id), TDP_OK);
	assert_int_equal(tdp_vcpu_set_as(vm->cpu[as_id].vcpu, as_id), TDP_OK);
}

static tdp_pa_t view_pa(const struct view *v, tdp_gpa_t gpa)
{
	return gpa >> TDP_PAGE_LG2 == v->odd >> TDP_PAGE_LG2 ? ODD_PA + (gpa & (TEST_PAGE - 1))
							     : PA + (gpa - GPA);
}

static void assert_view(struct test_vm *vm, uint32_t as_id, const struct view *v)
{
	struct test_dump dump = dump_of(vm, as_id);
	size_t i;

	for (i = 0; i < dump.count; i++) {
		const struct tdp_visit *leaf = &dump.visits[i];
		tdp_gpa_t last = leaf->gpa + ((uint64_t)1 << leaf->lg2) - 1;

		if (leaf->kind != TDP_ENTRY_LEAF)
			continue;
		assert_int_equal(leaf->pa, view_pa(v, leaf->gpa));
		assert_int_equal(leaf->pa + (last - leaf->gpa), view_pa(v, last));
		if (v->odd >= leaf->gpa && v->odd <= last)
			assert_int_equal(leaf->lg2, TDP_PAGE_LG2);
	}
	test_dump_free(&dump);
}

static void run_level(void **state, unsigned level)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm *vm = open_vm(state, &opts);
	uint64_t size = leaf_size(vm, level), done, made;
	struct view host = {0}, alternate = {.odd = GPA + size / 2 + 5 * TEST_PAGE};
	tdp_gpa_t at[] = {alternate.odd - TEST_PAGE,
			  alternate.odd + TEST_PAGE,
			  GPA,
			  GPA + size - 1,
			  alternate.odd ^ size / 4,
			  alternate.odd};
	struct test_dump before, after;
	unsigned i;

	add_view(vm, 0, size, &host);
	add_view(vm, 1, size, &alternate);
	assert_int_equal(touch(vm, 0, GPA, TDP_W).pa, PA);
	assert_int_equal(lg2_at(vm, 0, GPA), test_vm_lg2(vm, level));
	before = dump_of(vm, 0);
	for (i = 0; i < ARRAY_LEN(at); i++) {
		assert_int_equal(touch(vm, 1, at[i], TDP_W).pa, view_pa(&alternate, at[i]));
		assert_int_equal(touch(vm, 0, at[i], TDP_W).pa, view_pa(&host, at[i]));
		assert_view(vm, 1, &alternate);
	}
	assert_true(alternate.asked_large > 0);
	assert_int_equal(lg2_at(vm, 1, alternate.odd + TEST_PAGE), TDP_PAGE_LG2);
	assert_int_equal(tdp_populate(vm->mm, 1, range_of(GPA, size), TDP_POPULATE_YOUNG, &done),
			 TDP_OK);
	assert_int_equal(done, size);
	assert_view(vm, 1, &alternate);
	assert_int_equal(tdp_collapse(vm->mm, 1, range_of(GPA, size), 0, &made), TDP_OK);
	assert_view(vm, 1, &alternate);
	assert_int_equal(touch(vm, 1, alternate.odd, TDP_W).pa, ODD_PA);
	after = dump_of(vm, 0);
	assert_int_equal(test_dump_diff(&before, &after, false), 0);
	test_dump_free(&before);
	test_dump_free(&after);
	close_vm(vm);
}

static void found_size_not_asked_size(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	struct huge_levels h = huge_levels(vm);
	unsigned i;

	close_vm(vm);
	assert_true(h.count > 0);
	for (i = 0; i < h.count; i++)
		run_level(state, h.level[i]);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(found_size_not_asked_size)};

	return test_run("museum/H11", cases, ARRAY_LEN(cases));
}

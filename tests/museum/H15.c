/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H15, Hafnium, 2019 and 2026: 512 pages of equal attributes were merged into a block without
 * comparing their addresses, or without asking whether each was present; and mapping over
 * another address silently replaced it.
 *
 * Here collapse meets tables in which one thing is wrong at a time: one page elsewhere in
 * memory (first, last or in the middle), one absent, one with other attributes, all of them off
 * by a page. It must merge exactly the flawless one. A fault over a leaf that maps other memory
 * is refused.
 */
#include "huge.h"

enum flaw { NONE, MOVED, ABSENT, NOT_EXEC, HOST_READONLY, SOFTWARE, MEMORY_TYPE, SHIFTED, FLAWS };

static struct {
	enum flaw flaw;
	tdp_gpa_t odd;
	bool honest; /* says how large a block really is; else promises everything */
} host;

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		   struct tdp_page *page)
{
	bool odd = host.honest && (gpa & ~(TEST_PAGE - 1)) == host.odd;

	(void)arg;
	(void)access;
	page->pa = PA + (gpa - GPA);
	page->lg2 = host.honest ? TDP_PAGE_LG2 : want_lg2;
	page->prot = TDP_RWX;
	if (odd && host.flaw == MOVED)
		page->pa += (tdp_pa_t)1 << 41;
	if (odd && host.flaw == NOT_EXEC)
		page->prot &= ~TDP_X;
	if (odd && host.flaw == HOST_READONLY)
		page->prot &= ~TDP_W;
	if (odd && host.flaw == SOFTWARE)
		page->prot |= TDP_SW(2);
	if (odd && host.flaw == MEMORY_TYPE)
		page->prot |= TDP_MT_UC;
	if (host.flaw == SHIFTED)
		page->pa += TEST_PAGE;
	return TDP_OK;
}

static const struct tdp_backing_ops ops = {.size = (uint32_t)sizeof(ops), .resolve = resolve};

static tdp_pa_t true_pa(tdp_gpa_t gpa)
{
	tdp_pa_t pa = PA + (gpa - GPA) + (host.flaw == SHIFTED ? TEST_PAGE : 0);

	return host.flaw == MOVED && gpa >> 12 == host.odd >> 12 ? pa + ((tdp_pa_t)1 << 41) : pa;
}

/* One table of small pages with one flaw at page `at`; then the backing promises a huge page. */
static void run(void **state, enum flaw flaw, uint64_t at, bool written)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc), .backing = &ops};
	struct test_vm *vm = open_vm(state, NULL);
	uint64_t size = leaf_size(vm, 1), made = 77;
	struct test_dump before, after;
	tdp_gpa_t gpa;
	uint32_t id;

	host.flaw = flaw;
	host.odd = GPA + at * TEST_PAGE;
	host.honest = true;
	desc.gpa = range_of(GPA, size);
	assert_int_equal(tdp_slot_add(vm->mm, &desc, &id), TDP_OK);
	for (gpa = GPA; gpa < GPA + size; gpa += TEST_PAGE)
		if (flaw != ABSENT || gpa != host.odd)
			assert_int_equal(
				touch(vm, 0, gpa, written && gpa != host.odd ? TDP_W : TDP_R).pa,
				true_pa(gpa));
	host.honest = false;
	before = dump_of(vm, 0);
	assert_int_equal(tdp_collapse(vm->mm, 0, desc.gpa, 0, &made), TDP_OK);
	after = dump_of(vm, 0);
	assert_int_equal(made, flaw == NONE);
	if (flaw != NONE)
		assert_int_equal(test_dump_diff(&before, &after, false), 0);
	else
		assert_int_equal(lg2_at(vm, 0, GPA), test_vm_lg2(vm, 1));
	test_dump_free(&before);
	test_dump_free(&after);
	for (gpa = GPA; gpa < GPA + size; gpa += TEST_PAGE)
		if (flaw != ABSENT || gpa != host.odd)
			assert_int_equal(touch(vm, 0, gpa, TDP_R).pa, true_pa(gpa));
	close_vm(vm);
}

static void merges_only_what_is_one(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	uint64_t pages = leaf_size(vm, 1) >> TDP_PAGE_LG2;
	unsigned flaw, i;

	close_vm(vm);
	for (flaw = NONE; flaw < FLAWS; flaw++) {
		uint64_t at[] = {0, 1, pages / 2, pages - 1};

		for (i = 0; i < ARRAY_LEN(at); i++) {
			run(state, flaw, at[i], false);
			run(state, flaw, at[i], true);
		}
	}
}

/* A leaf is there, and its memory moved without anybody saying so: never replaced in passing. */
static void other_memory_is_refused(void **state)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc), .backing = &ops};
	struct test_vm *vm = open_vm(state, NULL);
	struct tdp_fault fault = {.size = (uint32_t)sizeof(fault), .gpa = GPA, .access = TDP_W};
	struct tdp_mapping was, is;
	uint32_t id;

	memset(&host, 0, sizeof(host));
	host.flaw = HOST_READONLY; /* so that a write asks the backing again */
	host.odd = GPA;
	host.honest = true;
	desc.gpa = range_of(GPA, leaf_size(vm, 1));
	assert_int_equal(tdp_slot_add(vm->mm, &desc, &id), TDP_OK);
	assert_int_equal(touch(vm, 0, GPA, TDP_R).pa, PA);
	was = mapping_at(vm, 0, GPA);
	host.flaw = MOVED;
	assert_true(tdp_fault(vm->cpu[0].vcpu, &fault, NULL) < 0);
	is = mapping_at(vm, 0, GPA);
	assert_memory_equal(&is, &was, sizeof(is));
	assert_int_equal(touch(vm, 0, GPA, TDP_R).pa, PA);
	/* Told about it, all is well. */
	assert_int_equal(tdp_zap(vm->mm, 0, range_of(GPA, TEST_PAGE), 0), TDP_OK);
	assert_int_equal(touch(vm, 0, GPA, TDP_W).pa, PA + ((tdp_pa_t)1 << 41));
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(merges_only_what_is_one),
		TEST_CASE(other_memory_is_refused),
	};

	return test_run("museum/H15", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H08, KVM on x86, 2013: a read-only huge mapping (its memory was copy on write in the host)
 * was passed over when dirty logging was enabled, as it could not be written anyway. The first
 * write wanted a small page, but the huge one was not dropped for it: an endless loop of
 * faults.
 *
 * Here a huge leaf lacks W in three ways (the backing gave none then, populate held it back, it
 * was write-protected) when logging begins. The write that comes must converge, on a small
 * page, and exactly that page is in the log.
 */
#include "huge.h"

static uint32_t host_prot;

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		   struct tdp_page *page)
{
	(void)arg;
	(void)access;
	page->pa = PA + (gpa - GPA);
	page->lg2 = want_lg2;
	page->prot = host_prot;
	return TDP_OK;
}

static const struct tdp_backing_ops ops = {.size = (uint32_t)sizeof(ops), .resolve = resolve};

enum how { COW, HELD, PROTECTED, HOWS };

static void make_readonly(struct test_vm *vm, enum how how, struct tdp_range leaf, tdp_gpa_t gpa)
{
	uint64_t done;

	switch (how) {
	case COW:
		host_prot = TDP_R | TDP_X;
		touch_linear(vm, 0, gpa, TDP_R);
		host_prot = TDP_RWX; /* the host has made the copy, in place as it were */
		break;
	case HELD:
		host_prot = TDP_RWX;
		assert_int_equal(tdp_populate(vm->mm, 0, leaf, TDP_POPULATE_READ, &done), TDP_OK);
		touch_linear(vm, 0, gpa, TDP_R);
		break;
	default:
		host_prot = TDP_RWX;
		touch_linear(vm, 0, gpa, TDP_R);
		assert_int_equal(tdp_write_protect(vm->mm, 0, leaf), TDP_OK);
		break;
	}
}

static unsigned dirty_pages(struct test_vm *vm, uint32_t slot, uint64_t pages, tdp_gpa_t gpa)
{
	uint64_t *bits = calloc(pages / 64 + 1, sizeof(*bits)), i, at = (gpa - GPA) >> TDP_PAGE_LG2;
	size_t words = (size_t)((pages + 63) / 64);
	unsigned n = 0;
	bool ours;

	assert_non_null(bits);
	assert_int_equal(tdp_dirty_harvest(vm->mm, slot, 0, bits, words), TDP_OK);
	for (i = 0; i < pages; i++)
		n += (unsigned)(bits[i / 64] >> i % 64 & 1);
	ours = bits[at / 64] >> at % 64 & 1;
	free(bits);
	assert_true(ours || n == 0);
	return n;
}

static void run(void **state, unsigned level, uint32_t mode, enum how how)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc), .backing = &ops};
	struct test_vm *vm = open_vm(state, NULL);
	struct tdp_range leaf = {GPA, leaf_size(vm, level)};
	tdp_gpa_t gpa = GPA + leaf.size / 2 + 5 * TEST_PAGE;
	uint64_t pages = leaf.size >> TDP_PAGE_LG2;
	struct tdp_emu_exit exit;
	uint32_t slot;

	desc.gpa = leaf;
	assert_int_equal(tdp_slot_add(vm->mm, &desc, &slot), TDP_OK);
	assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), TDP_OK);
	make_readonly(vm, how, leaf, gpa);
	assert_int_equal(lg2_at(vm, 0, gpa), test_vm_lg2(vm, level));
	assert_true(bare_walk(vm, 0, gpa, TDP_W, &exit) != TDP_EMU_OK);
	assert_int_equal(tdp_dirty_log(vm->mm, slot, mode), TDP_OK);
	assert_int_equal(dirty_pages(vm, slot, pages, gpa), 0);
	/* The write, and how soon it is through. */
	assert_in_range(touch_linear(vm, 0, gpa, TDP_W), 1, 2);
	assert_int_equal(lg2_at(vm, 0, gpa), TDP_PAGE_LG2);
	assert_int_equal(dirty_pages(vm, slot, pages, gpa), 1);
	assert_int_equal(dirty_pages(vm, slot, pages, gpa), 0);
	touch_linear(vm, 0, gpa, TDP_W);
	assert_int_equal(dirty_pages(vm, slot, pages, gpa), 1);
	close_vm(vm);
}

static void readonly_huge_leaf_gives_way(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	struct huge_levels h = huge_levels(vm);
	bool by_d = vm->info.ad & 2;
	unsigned i, how;

	close_vm(vm);
	assert_true(h.count > 0);
	for (i = 0; i < h.count; i++)
		for (how = COW; how < HOWS; how++) {
			run(state, h.level[i], TDP_LOG_WRPROT, how);
			if (by_d)
				run(state, h.level[i], TDP_LOG_DBIT, how);
		}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(readonly_huge_leaf_gives_way)};

	return test_run("museum/H08", cases, ARRAY_LEN(cases));
}

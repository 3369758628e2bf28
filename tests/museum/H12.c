/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H12, Xen on Arm, 2016: splitting a superpage gave its parts default permissions instead of
 * its own, while the database of permissions had no entry for them yet. Guests were killed for
 * accesses outside the page that was to be restricted.
 *
 * Here leaves of all permissions, memory types and software bits, old and young, clean and
 * dirty, are split. Each part has what the whole had, and a vCPU that has cached nothing
 * accesses all neighbours right after the split without a single fault.
 */
#include "huge.h"

static const uint32_t prots[] = {
	TDP_RWX,
	TDP_R,
	TDP_R | TDP_W,
	TDP_R | TDP_X,
	TDP_RWX | TDP_MT_WT | TDP_SW(0) | TDP_SW(3),
	TDP_R | TDP_W | TDP_MT_UC | TDP_SW(1),
	TDP_RWX | TDP_MT_FORCE | TDP_SW(2),
	TDP_R | TDP_X | TDP_MT_WC | TDP_SW(0) | TDP_SW(1) | TDP_SW(2) | TDP_SW(3),
	TDP_X | TDP_SW(1),
};

enum use { OLD, READ, WRITTEN, HELD, USES };

/* Returns false where this page cannot be used so. */
static bool use(struct test_vm *vm, enum use how, uint32_t prot, struct tdp_range leaf)
{
	uint32_t read = prot & TDP_R ? TDP_R : TDP_X;
	uint32_t flags = how == HELD ? TDP_POPULATE_READ : 0;
	uint64_t done;

	switch (how) {
	case OLD:
	case HELD:
		assert_int_equal(tdp_populate(vm->mm, 0, leaf, flags, &done), TDP_OK);
		return true;
	case READ: touch_linear(vm, 0, leaf.start + leaf.size / 2, read); return true;
	default:
		if (!(prot & TDP_W))
			return false;
		touch_linear(vm, 0, leaf.start + leaf.size / 2, TDP_W);
		return true;
	}
}

/* Every leaf has the attributes of `whole`. */
static void assert_parts(struct test_vm *vm, const struct tdp_mapping *whole, uint64_t size)
{
	struct test_dump dump = dump_of(vm, 0);
	tdp_gpa_t next = GPA;
	size_t i;

	for (i = 0; i < dump.count; i++) {
		const struct tdp_visit *v = &dump.visits[i];

		if (v->kind != TDP_ENTRY_LEAF)
			continue;
		assert_int_equal(v->gpa, next);
		assert_int_equal(v->pa, PA + (next - GPA));
		assert_int_equal(v->prot, whole->prot);
		assert_int_equal(v->flags, whole->flags);
		next += (uint64_t)1 << v->lg2;
	}
	assert_int_equal(next, GPA + size);
	test_dump_free(&dump);
}

static bool prot_exists(const struct test_vm *vm, uint32_t prot)
{
	if ((prot & TDP_MT_MASK) == TDP_MT_WC && !test_vm_has_wc(vm))
		return false;
	return prot & TDP_R || vm->fmt->format != TDP_FMT_NPT; /* NPT cannot say execute-only */
}

/* What the leaf grants without a fault before the split, it grants right after it, to anybody. */
static void split_one(struct test_vm *vm, struct tdp_range leaf, tdp_gpa_t page, uint32_t lg2)
{
	struct tdp_mapping whole = mapping_at(vm, 0, GPA);
	static const uint32_t wants[] = {TDP_R, TDP_W, TDP_X};
	struct tdp_emu_exit exit;
	bool granted[3];
	unsigned i;

	for (i = 0; i < 3; i++)
		granted[i] = bare_walk(vm, 0, page, wants[i], &exit) == TDP_EMU_OK;
	assert_int_equal(tdp_split(vm->mm, 0, range_of(page, TEST_PAGE), lg2), TDP_OK);
	assert_int_equal(lg2_at(vm, 0, page), lg2);
	assert_parts(vm, &whole, leaf.size);
	for (i = 0; i < 3; i++) {
		uint64_t step = leaf.size / 64;
		tdp_gpa_t gpa;

		for (gpa = leaf.start; gpa < leaf.start + leaf.size; gpa += step)
			assert_int_equal(bare_walk(vm, 0, gpa, wants[i], &exit) == TDP_EMU_OK,
					 granted[i]);
		/* With TLB and all, on the vCPU that has seen nothing of this yet. */
		for (gpa = leaf.start; granted[i] && gpa < leaf.start + leaf.size; gpa += step)
			assert_int_equal(touch_linear(vm, 1, gpa, wants[i]), 0);
	}
}

static void run(void **state, unsigned level, uint32_t prot)
{
	struct test_vm_options opts = {.cpus = 2};
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc)};
	struct test_vm *vm = open_vm(state, &opts);
	struct tdp_range leaf = {GPA, leaf_size(vm, level)};
	uint32_t id;
	unsigned how, to;

	if (!prot_exists(vm, prot)) {
		close_vm(vm);
		return;
	}
	desc.gpa = leaf;
	desc.pa = PA;
	desc.prot = prot;
	assert_int_equal(tdp_slot_add(vm->mm, &desc, &id), TDP_OK);
	assert_int_equal(tdp_vcpu_load(vm->cpu[1].vcpu), TDP_OK);
	for (how = OLD; how < USES; how++)
		for (to = 0; to < level; to++) {
			if (!(vm->info.leaf_levels >> to & 1) || !use(vm, how, prot, leaf))
				continue;
			assert_int_equal(lg2_at(vm, 0, GPA), test_vm_lg2(vm, level));
			split_one(vm, leaf, GPA + leaf.size / 2, test_vm_lg2(vm, to));
			assert_int_equal(test_vm_check(vm), 0);
			assert_int_equal(tdp_zap(vm->mm, 0, leaf, 0), TDP_OK);
			assert_true(tdp_compact(vm->mm, 0, range_of(0, test_vm_size(vm))) >= 0);
		}
	close_vm(vm);
}

static void parts_are_like_the_whole(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	struct huge_levels h = huge_levels(vm);
	unsigned i, p;

	close_vm(vm);
	assert_true(h.count > 0);
	for (i = 0; i < h.count; i++)
		for (p = 0; p < ARRAY_LEN(prots); p++)
			run(state, h.level[i], prots[p]);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(parts_are_like_the_whole)};

	return test_run("museum/H12", cases, ARRAY_LEN(cases));
}

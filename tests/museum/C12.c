/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C12, TF-RMM 2023: unfolding a block of unprotected memory into a table gave the children no
 * attributes and left the table's count at 0; folding it back lost the attributes of the parent.
 * Here huge pages of every kind of memory (rights, memory types, software bits, device memory)
 * are split and collapsed: each child maps what the parent mapped, alike, and counts; the parent
 * is in the end what it was.
 */
#include "museum.h"

struct kind {
	const char *name;
	uint32_t prot;
};

static const struct kind kinds[] = {
	{"all", TDP_RWX},
	{"read only", TDP_R},
	{"no execute", TDP_R | TDP_W},
	{"code", TDP_R | TDP_X},
	{"device", TDP_R | TDP_W | TDP_MT_UC},
	{"write through", TDP_RWX | TDP_MT_WT},
	{"marked", TDP_RWX | TDP_SW(0) | TDP_SW(3)},
	{"marked device", TDP_R | TDP_MT_UC | TDP_SW(1) | TDP_SW(2)},
	{"forced", TDP_RWX | TDP_MT_WT | TDP_MT_FORCE},
};

/* Every page of the block is what `like` was, in pages of 1 << lg2; and the guest sees that. */
static void all_alike(struct test_vm *vm, tdp_gpa_t gpa, tdp_pa_t pa,
		      const struct tdp_mapping *like, uint32_t lg2)
{
	for (uint64_t off = 0; off < museum_huge(vm); off += TEST_PAGE) {
		struct tdp_mapping m;

		assert_true(museum_mapped(vm, gpa + off, &m));
		assert_int_equal(m.lg2, lg2);
		assert_int_equal(m.pa, lg2 == TDP_PAGE_LG2 ? pa + off : pa);
		assert_int_equal(m.prot, like->prot);
		assert_int_equal(m.flags & (TDP_MAP_HOST_WRITABLE | TDP_MAP_MMU_WRITABLE),
				 like->flags & (TDP_MAP_HOST_WRITABLE | TDP_MAP_MMU_WRITABLE));
		museum_is_there(vm, gpa + off, TDP_R, pa + off);
		if (like->prot & TDP_W)
			museum_is_there(vm, gpa + off, TDP_W, pa + off);
		if (like->prot & TDP_X)
			museum_is_there(vm, gpa + off, TDP_X, pa + off);
	}
}

static void show(struct test_vm *vm, const struct kind *kind, unsigned i)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc), .prot = kind->prot};
	struct tdp_mapping before, m;
	uint64_t huge = museum_huge(vm), tables, made = 0;
	uint32_t id, access = kind->prot & TDP_W ? TDP_W : TDP_R;

	desc.gpa = museum_range((1 + i) * huge, huge);
	desc.pa = MUSEUM_PA + i * huge;
	print_message("# %s\n", kind->name);
	assert_int_equal(tdp_slot_add(vm->mm, &desc, &id), TDP_OK);
	assert_int_equal(museum_reaches(vm, desc.gpa.start, access, desc.pa), test_vm_lg2(vm, 1));
	assert_true(museum_mapped(vm, desc.gpa.start, &before));
	assert_int_equal(before.prot & ~TDP_MT_FORCE, kind->prot & ~TDP_MT_FORCE);
	assert_int_equal(tdp_vcpu_topup(vm->cpu[0].vcpu), TDP_OK);
	test_rcu_run();
	tables = atomic_load(&vm->env.tables);

	assert_int_equal(tdp_split(vm->mm, 0, desc.gpa, TDP_PAGE_LG2), TDP_OK);
	assert_int_equal(atomic_load(&vm->env.tables), tables + 1);
	all_alike(vm, desc.gpa.start, desc.pa, &before, TDP_PAGE_LG2);
	assert_int_equal(test_vm_check(vm), 0);
	assert_int_equal(tdp_collapse(vm->mm, 0, desc.gpa, 0, &made), TDP_OK);
	assert_int_equal(made, 1);
	all_alike(vm, desc.gpa.start, desc.pa, &before, test_vm_lg2(vm, 1));
	test_rcu_run();
	assert_int_equal(atomic_load(&vm->env.tables), tables);

	/* The children count: only when the last one has gone can the table go. */
	assert_int_equal(tdp_split(vm->mm, 0, desc.gpa, TDP_PAGE_LG2), TDP_OK);
	for (uint64_t off = 0; off < huge; off += TEST_PAGE) {
		assert_int_equal(tdp_compact(vm->mm, 0, desc.gpa), 0);
		assert_true(museum_mapped(vm, desc.gpa.start + huge - TEST_PAGE, &m));
		assert_int_equal(
			tdp_zap(vm->mm, 0, museum_range(desc.gpa.start + off, TEST_PAGE), 0),
			TDP_OK);
	}
	assert_int_equal(tdp_compact(vm->mm, 0, desc.gpa), 1);
	assert_int_equal(test_vm_check(vm), 0);
}

static void every_kind(void **state)
{
	struct test_vm vm;

	museum_start(&vm, state, NULL);
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++)
		show(&vm, &kinds[i], i);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(every_kind)};

	return test_run("museum/C12", cases, ARRAY_LEN(cases));
}

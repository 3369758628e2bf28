/* SPDX-License-Identifier: BSD-2-Clause */
/* What stands in live entries: A/D modes, rights, types, software bits, and what never may. */
#include "steps.h"

#define GPA GIB

/* ---- A and D --------------------------------------------------------------------------------- */

/*
 * E06, E29: one mode for the whole mm, in its info, its roles and its registers; caps alone do not
 * decide.
 */
static void ad_mode_is_of_the_mm(void **state)
{
	const struct test_format *fmt = format_of(state);
	uint32_t want = has_no_a(fmt) ? 0 : fmt->without_caps & TDP_CAP_HW_DIRTY ? 1 : 3;
	struct tdp_root_view view = {.size = (uint32_t)sizeof(view)};
	struct tdp_root *root;
	struct test_vm vm;
	tdp_role_t role;

	vm_up(&vm, state, NULL);
	assert_int_equal(vm.info.ad, want);
	role = tdp_role_root(vm.mm, 0);
	assert_int_equal(role >> 16 & 3, want);
	assert_int_equal(tdp_root_get(vm.mm, role, &root), TDP_OK);
	assert_int_equal(tdp_root_view(vm.mm, root, &view), TDP_OK);
	if (fmt->format == TDP_FMT_EPT) /* EPTP bit 6 */
		assert_int_equal(view.hw[0] >> 6 & 1, want != 0);
	if (fmt->format == TDP_FMT_S2_4K) /* VTCR_EL2.HA, HD: bits 21, 22 */
		assert_int_equal(view.hw[1] >> 21 & 3, want);
	assert_int_equal(tdp_root_put(vm.mm, root), 0);
	vm_down(&vm);
}

/* E07, E08: accessed and dirty mean the same with and without hardware. */
static void accessed_and_dirty_with_any_hardware(void **state)
{
	struct tdp_mapping leaf;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, 2 * TEST_PAGE, SLOT_PA, 0);
	use(&vm, 0, GPA, TDP_R);
	assert_true(leaf_at(&vm, GPA).flags & TDP_MAP_ACCESSED);
	use(&vm, 0, GPA + TEST_PAGE, TDP_W);
	leaf = leaf_at(&vm, GPA + TEST_PAGE);
	assert_int_equal(leaf.flags & (TDP_MAP_ACCESSED | TDP_MAP_DIRTY),
			 TDP_MAP_ACCESSED | TDP_MAP_DIRTY);
	assert_int_equal(tdp_age(vm.mm, 0, everything(&vm), NULL), 1);
	assert_false(leaf_at(&vm, GPA).flags & TDP_MAP_ACCESSED);
	assert_false(leaf_at(&vm, GPA + TEST_PAGE).flags & TDP_MAP_ACCESSED);
	vm_down(&vm);
}

/* E10, F05: two vCPUs that fault on one page compute one word: the loser touches nothing. */
static void the_loser_changes_nothing(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct tdp_emu_exit exit[2];
	struct tdp_fault f[2];
	struct test_vm vm;
	uint64_t word, flushes, tables;

	vm_up(&vm, state, &opts);
	add_slot(&vm, 0, GPA, 64 * MIB, SLOT_PA, 0);
	load(&vm, 0);
	load(&vm, 1);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_not_equal(tdp_emu_access(vm.cpu[i].emu, GPA + 5, TDP_W, &exit[i]),
				     TDP_EMU_OK);
		assert_int_equal(tdp_emu_decode(&exit[i], &f[i]), TDP_OK);
	}
	assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &f[0], NULL), TDP_FAULT_FIXED);
	word = word_at(&vm, GPA, NULL);
	flushes = broadcasts_of(&vm);
	tables = tables_of(&vm);
	assert_int_equal(tdp_fault(vm.cpu[1].vcpu, &f[1], NULL), TDP_FAULT_SPURIOUS);
	assert_int_equal(word_at(&vm, GPA, NULL), word);
	assert_int_equal(broadcasts_of(&vm), flushes);
	assert_int_equal(tables_of(&vm), tables);
	use(&vm, 0, GPA + 5, TDP_W);
	use(&vm, 1, GPA + 5, TDP_W);
	vm_down(&vm);
}

/* E14: what the host permits is fixed while a leaf is there; a slot that changes it zaps first. */
static void host_writable_is_fixed(void **state)
{
	struct test_vm vm;
	uint32_t id;

	vm_up(&vm, state, NULL);
	id = add_slot(&vm, 0, GPA, 2 * TEST_PAGE, SLOT_PA, 0);
	use(&vm, 0, GPA, TDP_W);
	assert_true(leaf_at(&vm, GPA).flags & TDP_MAP_HOST_WRITABLE);
	assert_int_equal(tdp_slot_set_flags(vm.mm, id, TDP_SLOT_READONLY), TDP_OK);
	assert_false(mapped(&vm, 0, GPA));
	use(&vm, 0, GPA, TDP_R);
	assert_false(leaf_at(&vm, GPA).flags & (TDP_MAP_HOST_WRITABLE | TDP_MAP_MMU_WRITABLE));
	assert_false(leaf_at(&vm, GPA).prot & TDP_W);
	assert_int_equal(tdp_slot_set_flags(vm.mm, id, 0), TDP_OK);
	assert_false(mapped(&vm, 0, GPA));
	use(&vm, 0, GPA, TDP_W);
	vm_down(&vm);
}

/* E15: what was prefetched is old until it is used; then it is young, by hardware or by a fault. */
static void prefetched_is_old_until_used(void **state)
{
	const struct test_format *fmt = format_of(state);
	struct tdp_fault f = {
		.gpa = GPA + 4 * TEST_PAGE, .access = TDP_R, .flags = TDP_FAULT_PREFETCH};
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, 8 * TEST_PAGE, SLOT_PA, 0);
	load(&vm, 0);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(GPA, 4 * TEST_PAGE), 0, NULL), TDP_OK);
	assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &f, NULL), TDP_FAULT_FIXED);
	for (tdp_gpa_t gpa = GPA; gpa <= f.gpa; gpa += TEST_PAGE) {
		assert_false(leaf_at(&vm, gpa).flags & TDP_MAP_ACCESSED);
		assert_int_equal((leaf_at(&vm, gpa).flags & TDP_MAP_TRACKED_ACCESS) != 0,
				 tracks_access(fmt));
	}
	assert_int_equal(tdp_test_age(vm.mm, 0, everything(&vm)), 0);
	assert_int_equal(use(&vm, 0, GPA, TDP_R).faults != 0, has_no_a(fmt));
	use(&vm, 0, f.gpa, TDP_R);
	assert_true(leaf_at(&vm, GPA).flags & TDP_MAP_ACCESSED);
	assert_true(leaf_at(&vm, f.gpa).flags & TDP_MAP_ACCESSED);
	vm_down(&vm);
}

/* ---- what never may happen ------------------------------------------------------------------- */

/* E03: every entry of a fresh table is the one empty word, which is absent also for the walker. */
static int check_fresh(void *arg, const struct tdp_visit *v)
{
	struct test_vm *vm = arg;
	const uint64_t *word = test_env_mem(&vm->env, v->pa);
	uint64_t n = (uint64_t)1 << vm->info.index_lg2, others = 0, empty = word[n - 1];

	for (uint64_t i = 0; i < n; i++)
		others += word[i] != empty;
	assert_int_equal(others, 1);
	if (vm->fmt->format == TDP_FMT_TEST)
		assert_int_not_equal(empty, 0);
	return 0;
}

static void fresh_tables_are_empty(void **state)
{
	struct test_vm vm;
	uint64_t empty;
	uint8_t kind;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, TEST_PAGE, SLOT_PA, 0);
	/* Twice: the second time the pages come back full of entries that look valid. */
	for (int i = 0; i < 2; i++) {
		use(&vm, 0, GPA, TDP_W);
		assert_int_equal(
			tdp_walk(vm.mm, 0, everything(&vm), TDP_WALK_TABLE_PRE, check_fresh, &vm),
			TDP_OK);
		empty = word_at(&vm, GPA + TEST_PAGE, &kind);
		assert_int_equal(kind, TDP_ENTRY_EMPTY);
		if (vm.fmt->format == TDP_FMT_TEST)
			assert_int_not_equal(empty, 0);
		assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), 0), TDP_OK);
		assert_false(mapped(&vm, 0, GPA));
		test_rcu_run();
	}
	vm_down(&vm);
}

static void change_backing(struct test_backing *mem, tdp_gpa_t gpa)
{
	/* The owner breaks the rule: other memory, and nobody was told. */
	mem->frame[(gpa - mem->gpa) / TEST_PAGE] += 0x1000;
}

/* E16: a present leaf is never pointed at another page, by no kind of fault. */
static void leaf_is_never_pointed_elsewhere(void **state)
{
	struct tdp_fault f = {.gpa = GPA, .access = TDP_W};
	struct test_backing mem;
	struct test_vm vm;
	uint64_t word;

	vm_up(&vm, state, NULL);
	add_backing(&vm, &mem, GPA, 2 * TEST_PAGE, TDP_RWX, 12);
	load(&vm, 0);
	assert_int_equal(
		tdp_populate(vm.mm, 0, range_of(GPA, 2 * TEST_PAGE), TDP_POPULATE_READ, NULL),
		TDP_OK);
	use(&vm, 0, GPA, TDP_R);
	assert_int_equal(tdp_write_track(vm.mm, 0, range_of(GPA, TEST_PAGE), true), TDP_OK);
	assert_int_equal(tdp_write_track(vm.mm, 0, range_of(GPA, TEST_PAGE), false), TDP_OK);
	word = word_at(&vm, GPA, NULL);
	change_backing(&mem, GPA);
	assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &f, NULL), TDP_EEXIST);
	assert_int_equal(word_at(&vm, GPA, NULL), word);
	f.flags = TDP_FAULT_PREFETCH;
	assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &f, NULL), TDP_FAULT_SPURIOUS);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(GPA, TEST_PAGE), 0, NULL), TDP_OK);
	assert_int_equal(word_at(&vm, GPA, NULL), word);
	/* Done properly it is served. */
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(GPA, TEST_PAGE), 0), TDP_OK);
	assert_int_equal(use(&vm, 0, GPA, TDP_W).pa, test_backing_pa(&mem, GPA));
	test_backing_fini(&mem);
	vm_down(&vm);
}

/* ---- types, permissions, software bits ------------------------------------------------------- */

/* E19: a type is kept in the leaf, or refused when the format has no word for it. */
static void memory_types(void **state)
{
	static const uint32_t types[] = {TDP_MT_WB, TDP_MT_WT, TDP_MT_WC, TDP_MT_UC};
	struct test_vm vm;
	tdp_gpa_t gpa = GPA;

	vm_up(&vm, state, NULL);
	for (size_t i = 0; i < ARRAY_LEN(types); i++, gpa += 16 * MIB) {
		bool can = types[i] != TDP_MT_WC || test_vm_has_wc(&vm);
		uint32_t prot = TDP_RWX | types[i];

		assert_int_equal(try_slot(&vm, gpa, 4 * MIB, SLOT_PA, prot, NULL),
				 can ? TDP_OK : TDP_ENOTSUP);
		if (!can)
			continue;
		use(&vm, 0, gpa, TDP_W);
		assert_int_equal(leaf_at(&vm, gpa).prot, prot);
		assert_int_equal(tdp_split(vm.mm, 0, range_of(gpa, TEST_PAGE), 12), TDP_OK);
		assert_int_equal(tdp_write_protect(vm.mm, 0, range_of(gpa, TEST_PAGE)), TDP_OK);
		assert_int_equal(leaf_at(&vm, gpa).prot, prot & ~TDP_W);
	}
	/* Types that no format has. */
	assert_int_equal(try_slot(&vm, gpa, 4 * MIB, SLOT_PA, TDP_RWX | 7u << TDP_MT_SHIFT, NULL),
			 TDP_ENOTSUP);
	assert_int_equal(try_slot(&vm, gpa, 4 * MIB, SLOT_PA, TDP_RWX | 1u << 12, NULL),
			 TDP_EINVAL);
	vm_down(&vm);
}

/* E26: the user's four bits outlive everything that is done to a leaf. */
static void software_bits_stay(void **state)
{
	uint32_t bits = TDP_SW(0) | TDP_SW(2) | TDP_SW(3);
	struct test_vm vm;
	struct tdp_range block;
	uint64_t collapsed;
	uint32_t id;

	vm_up(&vm, state, NULL);
	block = range_of(GPA, block_of(&vm));
	assert_int_equal(try_slot(&vm, GPA, block.size, SLOT_PA, TDP_RWX | bits, &id), TDP_OK);
#define KEPT(step)                                                                                 \
	do {                                                                                       \
		assert_int_equal((step) < 0, 0);                                                   \
		assert_int_equal(leaf_at(&vm, GPA).prot &TDP_SW_MASK, bits);                       \
	} while (0)
	use(&vm, 0, GPA, TDP_W);
	KEPT(tdp_age(vm.mm, 0, block, NULL));
	use(&vm, 0, GPA, TDP_R);
	KEPT(tdp_write_protect(vm.mm, 0, block));
	use(&vm, 0, GPA, TDP_W);
	KEPT(tdp_split(vm.mm, 0, block, 12));
	for (tdp_gpa_t gpa = GPA; gpa < GPA + block.size; gpa += TEST_PAGE)
		use(&vm, 0, gpa, TDP_W);
	KEPT(tdp_collapse(vm.mm, 0, block, 0, &collapsed));
	assert_int_equal(collapsed, 1);
	KEPT(tdp_write_track(vm.mm, 0, block, true));
	KEPT(tdp_write_track(vm.mm, 0, block, false));
	KEPT(tdp_dirty_log(vm.mm, id, TDP_LOG_AUTO));
	use(&vm, 0, GPA, TDP_W);
	KEPT(tdp_dirty_clear(vm.mm, id, 0, 1));
	use(&vm, 0, GPA, TDP_W);
	KEPT(0);
#undef KEPT
	vm_down(&vm);
}

/* E22: X without R where the machine has it, else refused when asked for. */
static void execute_only(void **state)
{
	struct test_vm_options opts = {.without_caps = TDP_CAP_EXEC_ONLY};
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	if (vm.fmt->format == TDP_FMT_NPT) {
		assert_int_equal(try_slot(&vm, GPA, TEST_PAGE, SLOT_PA, TDP_X, NULL), TDP_ENOTSUP);
	} else {
		assert_int_equal(try_slot(&vm, GPA, TEST_PAGE, SLOT_PA, TDP_X, NULL), TDP_OK);
		assert_int_equal(use(&vm, 0, GPA, TDP_X).prot, TDP_X);
		stopped(&vm, 0, GPA, TDP_R, TDP_EACCES);
		stopped(&vm, 0, GPA, TDP_W, TDP_EACCES);
	}
	assert_int_equal(try_slot(&vm, 2 * GPA, TEST_PAGE, SLOT_PA, TDP_W | TDP_X, NULL),
			 TDP_ENOTSUP);
	assert_int_equal(try_slot(&vm, 2 * GPA, TEST_PAGE, SLOT_PA, TDP_R, NULL), TDP_OK);
	use(&vm, 0, 2 * GPA, TDP_R);
	stopped(&vm, 0, 2 * GPA, TDP_X, TDP_EACCES);
	vm_down(&vm);

	if (format_of(state)->format != TDP_FMT_EPT)
		return;
	vm_up(&vm, state, &opts);
	assert_int_equal(try_slot(&vm, GPA, TEST_PAGE, SLOT_PA, TDP_X, NULL), TDP_ENOTSUP);
	vm_down(&vm);
}

/* ---- encryption ------------------------------------------------------------------------------ */

#define C_BIT ((uint64_t)1 << 51)

static void *without_c_bit(void *arg, tdp_pa_t pa)
{
	assert_true(pa & C_BIT); /* of every pointer to a table */
	return test_env_mem(arg, pa & ~C_BIT);
}

static int check_c_bit(void *arg, const struct tdp_visit *v)
{
	if (v->kind != TDP_ENTRY_MMIO)
		assert_true(v->entry & C_BIT);
	assert_false(v->pa & C_BIT);
	++*(unsigned *)arg;
	return 0;
}

static uint64_t mmio_word(struct test_vm *vm)
{
	uint64_t word;
	uint8_t kind;

	stopped(vm, 0, 2 * GPA, TDP_R, TDP_FAULT_MMIO);
	word = word_at(vm, 2 * GPA, &kind);
	assert_int_equal(kind, TDP_ENTRY_MMIO);
	return word;
}

/*
 * E20: the encryption bit is in RAM leaves and table pointers, not in MMIO entries, and in no
 * answer.
 */
static void encryption_bit(void **state)
{
	struct tdp_emu_config emu = tdp_emu_config_default();
	struct test_vm vm;
	unsigned visits = 0;
	uint64_t word;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, 4 * MIB, SLOT_PA, 0);
	word = mmio_word(&vm);
	/* A machine whose memory has the bit in its addresses. */
	tdp_vcpu_destroy(vm.cpu[0].vcpu);
	assert_int_equal(tdp_mm_destroy(vm.mm), TDP_OK);
	vm.mm = NULL;
	tdp_emu_vcpu_destroy(vm.cpu[0].emu);
	tdp_emu_destroy(vm.emu);
	emu.without_caps = vm.fmt->without_caps;
	emu.mem = without_c_bit;
	emu.mem_arg = &vm.env;
	assert_int_equal(tdp_emu_create(&emu, &vm.emu), TDP_OK);
	assert_int_equal(tdp_emu_vcpu_create(vm.emu, &vm.cpu[0].emu), TDP_OK);
	vm.env.emu = vm.emu;
	vm.cfg.backend_ctx = vm.emu;
	vm.cfg.encrypt_mask = C_BIT;
	assert_int_equal(tdp_mm_create(&vm.cfg, &vm.mm), TDP_OK);
	assert_int_equal(tdp_vcpu_create(vm.mm, vm.cpu[0].emu, &vm.cpu[0].vcpu), TDP_OK);

	add_slot(&vm, 0, GPA, 4 * MIB, SLOT_PA, 0);
	assert_int_equal(use(&vm, 0, GPA, TDP_W).pa, SLOT_PA | C_BIT);
	assert_int_equal(leaf_at(&vm, GPA).pa, SLOT_PA);
	/* By the short way, too (unit/straight). */
	assert_int_equal(use(&vm, 0, GPA + 2 * MIB, TDP_W).pa, (SLOT_PA + 2 * MIB) | C_BIT);
	assert_int_equal(mmio_word(&vm), word);
	assert_int_equal(tdp_split(vm.mm, 0, range_of(GPA, TEST_PAGE), 12), TDP_OK);
	assert_int_equal(use(&vm, 0, GPA + TEST_PAGE, TDP_W).pa, (SLOT_PA + TEST_PAGE) | C_BIT);
	assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm),
				  TDP_WALK_LEAF | TDP_WALK_TABLE_PRE | TDP_WALK_MMIO, check_c_bit,
				  &visits),
			 TDP_OK);
	assert_true(visits > 500);
	assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), 0), TDP_OK);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(ad_mode_is_of_the_mm),
		TEST_CASE(accessed_and_dirty_with_any_hardware),
		TEST_CASE(the_loser_changes_nothing),
		TEST_CASE(host_writable_is_fixed),
		TEST_CASE(prefetched_is_old_until_used),
		TEST_CASE(fresh_tables_are_empty),
		TEST_CASE(leaf_is_never_pointed_elsewhere),
		TEST_CASE(memory_types),
		TEST_CASE(software_bits_stay),
		TEST_CASE(execute_only),
		TEST_CASE_IF(encryption_bit, is_x86),
	};

	return test_run("entries", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memslots: never overlapping, found again, gone for good, and from the owner's addresses to the
 * guest's.
 */
#include "steps.h"

#include <sched.h>
#include <stdatomic.h>

#define GPA GIB

/* ---- life ------------------------------------------------------------------------------------ */

/* Z07: whatever way two slots would share a page of one address space, it is refused. */
static void slots_never_overlap(void **state)
{
	/* In pages, against one slot of [100, 200). */
	static const struct {
		uint64_t start, pages;
		bool clash;
	} tries[] = {
		{100, 100, true}, {0, 101, true},   {199, 10, true}, {150, 1, true},
		{50, 500, true},  {100, 1, true},   {199, 1, true},  {0, 100, false},
		{200, 50, false}, {300, 10, false},
	};
	struct test_vm vm;
	uint32_t id, other, last = 0;

	vm_up(&vm, state, NULL);
	id = add_slot(&vm, 0, GPA + 100 * TEST_PAGE, 100 * TEST_PAGE, SLOT_PA, 0);
	for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
		tdp_gpa_t gpa = GPA + tries[i].start * TEST_PAGE;
		uint64_t size = tries[i].pages * TEST_PAGE;

		assert_int_equal(test_vm_slot(&vm, 0, gpa, size, SLOT_PA, 0, &other),
				 tries[i].clash ? TDP_EEXIST : TDP_OK);
		if (!tries[i].clash) {
			assert_int_not_equal(other, id);
			assert_true(i < 8 || other > last); /* never used again */
			last = other;
			assert_int_equal(tdp_slot_remove(vm.mm, other), TDP_OK);
			assert_int_equal(tdp_slot_remove(vm.mm, other), TDP_ENOENT);
		}
		/* Another address space is another world. */
		assert_int_equal(test_vm_slot(&vm, 1, gpa, size, SLOT_PA, 0, &other), TDP_OK);
		assert_int_equal(tdp_slot_remove(vm.mm, other), TDP_OK);
	}
	other = add_slot(&vm, 0, GPA + 300 * TEST_PAGE, 100 * TEST_PAGE, SLOT_PA, 0);
	assert_int_equal(tdp_slot_move(vm.mm, id, GPA + 201 * TEST_PAGE), TDP_EEXIST);
	assert_int_equal(tdp_slot_move(vm.mm, id, GPA + 399 * TEST_PAGE), TDP_EEXIST);
	assert_int_equal(tdp_slot_move(vm.mm, id, GPA + 200 * TEST_PAGE), TDP_OK);
	/* Over itself it may move. */
	assert_int_equal(tdp_slot_move(vm.mm, id, GPA + 150 * TEST_PAGE), TDP_OK);
	assert_int_equal(tdp_slot_move(vm.mm, id, test_vm_size(&vm) - 99 * TEST_PAGE), TDP_ERANGE);
	assert_int_equal(use(&vm, 0, GPA + 150 * TEST_PAGE, TDP_W).pa, SLOT_PA);
	stopped(&vm, 0, GPA + 100 * TEST_PAGE, TDP_W, TDP_FAULT_MMIO);
	vm_down(&vm);
}

/* Z07: a move takes the mappings away and the memory along; flags act on what is mapped. */
static void moved_and_changed(void **state)
{
	struct test_vm vm;
	uint32_t id;

	vm_up(&vm, state, NULL);
	id = add_slot(&vm, 0, GPA, 2 * block_of(&vm), SLOT_PA, 0);
	use(&vm, 0, GPA, TDP_W);
	assert_true(leaf_at(&vm, GPA).lg2 > 12);
	assert_int_equal(tdp_slot_set_flags(vm.mm, id, TDP_SLOT_FORCE_4K), TDP_OK);
	use(&vm, 0, GPA, TDP_W);
	assert_int_equal(leaf_at(&vm, GPA).lg2, 12);
	assert_int_equal(tdp_slot_set_flags(vm.mm, id, TDP_SLOT_READONLY), TDP_OK);
	stopped(&vm, 0, GPA, TDP_W, TDP_FAULT_READONLY);
	assert_false(mapped(&vm, 0, GPA));
	use(&vm, 0, GPA, TDP_R);
	assert_int_equal(tdp_slot_move(vm.mm, id, 2 * GPA), TDP_OK);
	assert_int_equal(tdp_emu_cached(vm.emu, GPA, 2 * block_of(&vm)), 0);
	assert_int_equal(leaves_of(&vm), 0);
	stopped(&vm, 0, GPA, TDP_R, TDP_FAULT_MMIO);
	assert_int_equal(use(&vm, 0, 2 * GPA + 5, TDP_R).pa, SLOT_PA + 5);
	stopped(&vm, 0, 2 * GPA, TDP_W, TDP_FAULT_READONLY);
	vm_down(&vm);
}

#define MANY 300u

/* E25: a page that has an owner is mapped by nobody, through zap, fast zap and populate, until it is given back. */
static void owned_pages_are_not_mapped(void **state)
{
	struct tdp_range page, all;
	struct test_vm vm;
	uint64_t block, done;
	uint32_t owner, id;

	vm_up(&vm, state, NULL);
	block = block_of(&vm);
	id = add_slot(&vm, 0, block, 2 * block, 16 * block, 0);
	page = range_of(block + 3 * TEST_PAGE, TEST_PAGE);
	all = range_of(block, 2 * block);
	use(&vm, 0, page.start, TDP_W);
	assert_int_equal(tdp_get_owner(vm.mm, 0, page.start, &owner), TDP_OK);
	assert_int_equal(owner, 0);
	assert_int_equal(tdp_set_owner(vm.mm, 0, range_of(block, 4 * block), 7), TDP_ENOENT);
	assert_int_equal(tdp_set_owner(vm.mm, 0, page, 256), TDP_EINVAL);
	assert_true(mapped(&vm, 0, page.start));

	assert_int_equal(tdp_set_owner(vm.mm, 0, page, 7), TDP_OK);
	assert_false(mapped(&vm, 0, page.start));
	stopped(&vm, 0, page.start, TDP_R, TDP_EACCES);
	/* Its neighbours are the guest's, but in small pages; populate stops in front of it. */
	assert_int_equal(use(&vm, 0, block, TDP_W).lg2, 12);
	assert_int_equal(tdp_populate(vm.mm, 0, all, 0, &done), TDP_EACCES);
	assert_int_equal(done, 3 * TEST_PAGE);
	assert_false(mapped(&vm, 0, page.start));
	assert_int_equal(tdp_slot_move(vm.mm, id, 8 * block), TDP_EBUSY);
	assert_int_equal(tdp_zap(vm.mm, 0, all, 0), TDP_OK);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	load(&vm, 0);
	assert_int_equal(tdp_get_owner(vm.mm, 0, page.start, &owner), TDP_OK);
	assert_int_equal(owner, 7);
	stopped(&vm, 0, page.start, TDP_W, TDP_EACCES);

	assert_int_equal(tdp_set_owner(vm.mm, 0, page, 0), TDP_OK);
	assert_int_equal(use(&vm, 0, page.start, TDP_W).pa, 16 * block + 3 * TEST_PAGE);
	vm_down(&vm);
}

/* Z08: the slot that a vCPU remembers is not used once it has gone, moved, or is another space's. */
static void the_last_one_is_forgotten(void **state)
{
	struct test_vm vm;
	uint32_t first, other;

	vm_up(&vm, state, NULL);
	first = add_slot(&vm, 0, GPA, 8 * TEST_PAGE, SLOT_PA, 0);
	add_slot(&vm, 1, GPA, 8 * TEST_PAGE, 4 * SLOT_PA, 0);
	assert_int_equal(use(&vm, 0, GPA, TDP_W).pa, SLOT_PA);
	assert_int_equal(tdp_vcpu_set_as(vm.cpu[0].vcpu, 1), TDP_OK);
	load(&vm, 0);
	assert_int_equal(use(&vm, 0, GPA, TDP_W).pa, 4 * SLOT_PA);
	assert_int_equal(tdp_vcpu_set_as(vm.cpu[0].vcpu, 0), TDP_OK);
	load(&vm, 0);
	assert_int_equal(use(&vm, 0, GPA + TEST_PAGE, TDP_W).pa, SLOT_PA + TEST_PAGE);
	assert_int_equal(tdp_slot_remove(vm.mm, first), TDP_OK);
	stopped(&vm, 0, GPA + TEST_PAGE, TDP_W, TDP_FAULT_MMIO);
	other = add_slot(&vm, 0, GPA, 8 * TEST_PAGE, 2 * SLOT_PA, 0);
	assert_int_equal(use(&vm, 0, GPA + TEST_PAGE, TDP_W).pa, 2 * SLOT_PA + TEST_PAGE);
	assert_int_equal(tdp_slot_move(vm.mm, other, GPA + 4 * TEST_PAGE), TDP_OK);
	stopped(&vm, 0, GPA + TEST_PAGE, TDP_W, TDP_FAULT_MMIO);
	assert_int_equal(use(&vm, 0, GPA + 5 * TEST_PAGE, TDP_W).pa, 2 * SLOT_PA + TEST_PAGE);
	vm_down(&vm);
}

/* Z08: among many slots each address finds its own, or none. */
static void the_right_one_of_many(void **state)
{
	struct {
		tdp_gpa_t gpa;
		uint64_t size;
		uint32_t id;
	} s[MANY];
	struct tdp_slot_desc desc;
	struct test_rand rand;
	struct test_vm vm;
	tdp_gpa_t at = 0;
	uint32_t id;

	test_rand_init(&rand, test_seed());
	vm_up(&vm, state, NULL);
	for (size_t i = 0; i < MANY; i++) {
		s[i].gpa = at + test_below(&rand, 3) * TEST_PAGE;
		s[i].size = (1 + test_below(&rand, 9)) * TEST_PAGE;
		at = s[i].gpa + s[i].size;
	}
	/* Not in order of their addresses. */
	for (size_t k = 0; k < MANY; k++) {
		size_t i = k * 7 % MANY;

		s[i].id = add_slot(&vm, 0, s[i].gpa, s[i].size, SLOT_PA + s[i].gpa, 0);
	}
	for (tdp_gpa_t gpa = 0, i = 0; gpa < at + 4 * TEST_PAGE; gpa += TEST_PAGE) {
		int want;

		while (i < MANY && gpa >= s[i].gpa + s[i].size)
			i++;
		want = i < MANY && gpa >= s[i].gpa ? TDP_OK : TDP_ENOENT;
		desc.size = (uint32_t)sizeof(desc);
		assert_int_equal(tdp_slot_find(vm.mm, 0, gpa + 17, &id, &desc), want);
		if (want)
			continue;
		assert_int_equal(id, s[i].id);
		assert_int_equal(desc.gpa.start, s[i].gpa);
		assert_int_equal(desc.gpa.size, s[i].size);
		assert_int_equal(desc.pa, SLOT_PA + s[i].gpa);
	}
	vm_down(&vm);
}

/* ---- deletion -------------------------------------------------------------------------------- */

/* What a walker that still had this root would find, without any cache. */
static int read_table(void *arg, tdp_pa_t pa, uint64_t *entry)
{
	*entry = *(const uint64_t *)test_env_mem(arg, pa);
	return 0;
}

static bool root_maps(struct test_vm *vm, const struct tdp_root_view *view, tdp_gpa_t gpa)
{
	struct tdp_emu_exit exit;
	uint32_t caps = vm->info.ad & 1 ? TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY : 0;
	int reason = tdp_emu_walk_foreign((uint32_t)vm->fmt->format, view->hw, caps, read_table,
					  &vm->env, gpa, TDP_R, &exit);

	assert_true(reason >= 0);
	return reason == TDP_EMU_OK;
}

static void hold_root(struct test_vm *vm, uint32_t as_id, struct tdp_root **root,
		      struct tdp_root_view *view)
{
	view->size = (uint32_t)sizeof(*view);
	assert_int_equal(tdp_root_get(vm->mm, tdp_role_root(vm->mm, as_id), root), TDP_OK);
	assert_int_equal(tdp_root_view(vm->mm, *root, view), TDP_OK);
}

/*
 * Z09: a removed slot is reached by no root, valid or not, of its address space, and by no TLB;
 * nor is the memory next to it touched.
 */
static void no_way_to_a_removed_slot(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct tdp_root *root[2];
	struct tdp_root_view view[2];
	struct test_vm vm;
	uint64_t size;
	uint32_t id;

	vm_up(&vm, state, &opts);
	size = 2 * block_of(&vm);
	id = add_slot(&vm, 0, GPA, size, SLOT_PA, 0);
	add_slot(&vm, 0, GPA + size, size, SLOT_PA + GIB, TDP_SLOT_FORCE_4K);
	for (int i = 0; i < 2; i++) {
		/* The first of the two is an invalid one that somebody still holds. */
		for (tdp_gpa_t gpa = GPA; gpa < GPA + size; gpa += block_of(&vm))
			use(&vm, 0, gpa, TDP_W);
		use(&vm, 0, GPA + size, TDP_W);
		hold_root(&vm, 0, &root[i], &view[i]);
		if (vm.fmt->format == TDP_FMT_EPT && !vm.info.ad)
			assert_int_equal(view[i].hw[0] >> 6 & 1, 0);
		assert_true(root_maps(&vm, &view[i], GPA));
		if (i == 0)
			assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	}
	assert_true(tdp_root_is_invalid(root[0]));
	assert_false(tdp_root_is_invalid(root[1]));
	assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
	tdp_emu_forbid(vm.emu, SLOT_PA, size);
	assert_int_equal(tdp_emu_cached(vm.emu, GPA, size), 0);
	for (int i = 0; i < 2; i++) {
		for (tdp_gpa_t gpa = GPA; gpa < GPA + size; gpa += TEST_PAGE)
			assert_false(root_maps(&vm, &view[i], gpa));
		assert_true(root_maps(&vm, &view[i], GPA + size));
	}
	stopped(&vm, 0, GPA, TDP_R, TDP_FAULT_MMIO);
	assert_int_equal(use(&vm, 0, GPA + size, TDP_W).faults, 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(tdp_root_put(vm.mm, root[i]), 0);
	vm_down(&vm);
}

/* Z09: or, if so configured, everything is zapped at once. */
static void removal_zaps_everything(void **state)
{
	struct test_vm_options opts = {.mm_flags = TDP_MM_SLOT_ZAP_ALL};
	struct tdp_root *root;
	struct tdp_root_view view;
	struct test_vm vm;
	uint32_t id;

	for (int all = 0; all < 2; all++) {
		vm_up(&vm, state, all ? &opts : NULL);
		id = add_slot(&vm, 0, GPA, TEST_PAGE, SLOT_PA, 0);
		add_slot(&vm, 0, 2 * GPA, TEST_PAGE, SLOT_PA, 0);
		use(&vm, 0, GPA, TDP_W);
		use(&vm, 0, 2 * GPA, TDP_W);
		hold_root(&vm, 0, &root, &view);
		assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
		assert_false(root_maps(&vm, &view, GPA));
		assert_int_equal(tdp_root_is_invalid(root), all);
		assert_int_equal(mapped(&vm, 0, 2 * GPA), !all);
		use(&vm, 0, 2 * GPA, TDP_W);
		stopped(&vm, 0, GPA, TDP_W, TDP_FAULT_MMIO);
		assert_int_equal(tdp_root_put(vm.mm, root), 0);
		vm_down(&vm);
	}
}

/* ---- from the owner's side ------------------------------------------------------------------- */

#define ALIASES 6u

struct ranges {
	uint8_t seen[ALIASES][64]; /* by slot (as * 3 + place) and page */
	unsigned calls;
	int stop;
};

static int note_range(void *arg, uint32_t as_id, struct tdp_range range)
{
	struct ranges *r = arg;
	uint64_t place = range.start / GIB, page = range.start % GIB / TEST_PAGE;

	r->calls++;
	assert_true(as_id < 2 && place < 3 && range.size > 0);
	for (uint64_t i = 0; i < range.size / TEST_PAGE; i++)
		r->seen[as_id * 3 + place][page + i]++;
	return r->stop;
}

/* Z10: every guest range that shows a range of the owner's memory, in all slots, also aliases. */
static void owners_range_to_guest_ranges(void **state)
{
	struct {
		uint64_t start, pages;
	} slot[ALIASES];
	struct test_rand rand;
	struct test_vm vm;

	test_rand_init(&rand, test_seed());
	vm_up(&vm, state, NULL);
	for (uint32_t i = 0; i < ALIASES; i++) {
		struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc), .as_id = i / 3};
		uint32_t id;

		slot[i].start = test_below(&rand, 100);
		slot[i].pages = 1 + test_below(&rand, 60);
		desc.gpa = range_of(i % 3 * GIB, slot[i].pages * TEST_PAGE);
		desc.pa = SLOT_PA;
		desc.backing_start = 5 * MIB + slot[i].start * TEST_PAGE;
		assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), TDP_OK);
	}
	for (int round = 0; round < 200; round++) {
		uint64_t start = test_below(&rand, 180), pages = 1 + test_below(&rand, 40);
		struct ranges r;

		memset(&r, 0, sizeof(r));
		assert_int_equal(tdp_backing_ranges(vm.mm, 5 * MIB + start * TEST_PAGE,
						    pages * TEST_PAGE, note_range, &r),
				 0);
		for (uint32_t i = 0; i < ALIASES; i++)
			for (uint64_t p = 0; p < slot[i].pages; p++)
				assert_int_equal(r.seen[i][p],
						 slot[i].start + p >= start &&
							 slot[i].start + p < start + pages);
		if (r.calls > 1) {
			struct ranges once = {.stop = 7};

			assert_int_equal(tdp_backing_ranges(vm.mm, 5 * MIB + start * TEST_PAGE,
							    pages * TEST_PAGE, note_range, &once),
					 7);
			assert_int_equal(once.calls, 1);
		}
	}
	vm_down(&vm);
}

/* ---- who holds one, and who waits for that ---- */

static struct tdp_env host;
static struct {
	struct test_vm *vm;
	uint32_t id;
	int status;
	pthread_t thread;
	_Atomic(const uint32_t *) awaited; /* the latest word */
	_Atomic uint32_t wakes, of_awaited;
} removal;

static void noted_wait(void *priv, const uint32_t *word, uint32_t value)
{
	atomic_store(&removal.awaited, word);
	host.wait(priv, word, value);
}

static void noted_wake(void *priv, const uint32_t *word)
{
	atomic_fetch_add(&removal.wakes, 1);
	if (atomic_load(&removal.awaited) == word)
		atomic_fetch_add(&removal.of_awaited, 1);
	host.wake(priv, word);
}

static void note_waits(struct tdp_env *env)
{
	host = *env;
	env->wait = noted_wait;
	env->wake = noted_wake;
	memset(&removal, 0, sizeof(removal));
}

static void *remove_slot(void *arg)
{
	struct test_vm *vm = removal.vm;

	vm->env.env.rcu->thread_register();
	removal.status = tdp_slot_remove(vm->mm, removal.id);
	vm->env.env.rcu->thread_unregister();
	return arg;
}

static void remove_meanwhile(struct test_backing *b, tdp_gpa_t gpa)
{
	(void)gpa;
	b->on_resolve = NULL;
	assert_int_equal(pthread_create(&removal.thread, NULL, remove_slot, NULL), 0);
	while (!atomic_load(&removal.awaited))
		sched_yield();
}

/* Z08: a removal waits for whoever uses the slot, and is woken; nobody else is, which would be a system call. */
static void only_a_removal_is_woken(void **state)
{
	struct test_vm_options opts = {.env_flags = TEST_ENV_WAIT, .host = note_waits};
	struct test_backing mem;
	struct test_vm vm;
	uint64_t bits;

	vm_up(&vm, state, &opts);
	removal.vm = &vm;
	removal.id = add_backing(&vm, &mem, GPA, 64 * TEST_PAGE, TDP_RWX, TDP_PAGE_LG2);
	use(&vm, 0, GPA, TDP_W);
	assert_int_equal(tdp_dirty_log(vm.mm, removal.id, TDP_LOG_AUTO), TDP_OK);
	use(&vm, 0, GPA, TDP_W);
	assert_int_equal(tdp_dirty_harvest(vm.mm, removal.id, 0, &bits, 1), TDP_OK);
	assert_int_equal(bits, 1);
	assert_int_equal(tdp_dirty_clear_mask(vm.mm, removal.id, 0, ~UINT64_C(0)), TDP_OK);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(GPA, 8 * TEST_PAGE), 0, NULL), TDP_OK);
	/* Nor does a move leave anybody waiting for what is over. */
	assert_int_equal(tdp_slot_move(vm.mm, removal.id, 2 * GPA), TDP_OK);
	assert_int_equal(tdp_dirty_harvest(vm.mm, removal.id, 0, &bits, 1), TDP_OK);
	assert_int_equal(tdp_slot_move(vm.mm, removal.id, GPA), TDP_OK);
	assert_int_equal(atomic_load(&removal.wakes), 0);
	mem.on_resolve = remove_meanwhile;
	(void)tdp_populate(vm.mm, 0, range_of(GPA, 64 * TEST_PAGE), 0, NULL);
	assert_int_equal(pthread_join(removal.thread, NULL), 0);
	assert_int_equal(removal.status, TDP_OK);
	assert_true(atomic_load(&removal.of_awaited) > 0);
	test_backing_fini(&mem);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(slots_never_overlap),        TEST_CASE(moved_and_changed),
		TEST_CASE(owned_pages_are_not_mapped), TEST_CASE(the_last_one_is_forgotten),
		TEST_CASE(the_right_one_of_many),      TEST_CASE(no_way_to_a_removed_slot),
		TEST_CASE(removal_zaps_everything),    TEST_CASE(owners_range_to_guest_ranges),
		TEST_CASE(only_a_removal_is_woken),
	};

	return test_run("slots", cases, ARRAY_LEN(cases));
}

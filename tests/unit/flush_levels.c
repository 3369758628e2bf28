/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * T14: what the backend is told of the levels of leaves that a flush is for. The walker believes it, so what is
 * left out can be used afterwards.
 */
#include "steps.h"

#define GPA GIB
#define L0 0x1u
#define L1 0x2u
#define ALL 0u /* everything, the pointers to tables included: flush_range */

static bool breaks(const struct spy *spy)
{
	return spy->vm.fmt->format == TDP_FMT_S2_4K || spy->vm.fmt->format == TDP_FMT_TEST;
}

/* Since *before, which is renewed, there was one flush of a range, and it was for leaves of these levels. */
static void flushed_of(struct spy *spy, uint64_t *before, uint32_t levels)
{
	uint64_t now = atomic_load(&spy->ranges);

	assert_int_equal(now - *before, 1);
	if (!spy->no_levels)
		assert_int_equal(atomic_load(&spy->levels), levels);
	*before = now;
}

/* A block of small pages, GPA, one that can be huge behind it, and what each call says when it is mapped. */
static void small_and_huge(struct spy *spy)
{
	struct test_vm *vm = &spy->vm;
	uint64_t block = block_of(vm), n;
	struct tdp_range small = range_of(GPA, TEST_PAGE), huge = range_of(GPA + block, block);

	add_slot(vm, 0, GPA, block, SLOT_PA, TDP_SLOT_FORCE_4K);
	add_slot(vm, 0, GPA + block, block, SLOT_PA + block, 0);
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned page = 0; page < 4; page++)
			use(vm, 0, GPA + page * TEST_PAGE, TDP_W);
		use(vm, 0, huge.start, TDP_W);
		n = atomic_load(&spy->ranges);
		assert_int_equal(tdp_write_protect(vm->mm, 0, small), TDP_OK);
		flushed_of(spy, &n, L0);
		assert_int_equal(tdp_write_protect(vm->mm, 0, huge), TDP_OK);
		flushed_of(spy, &n, L1);
		assert_int_equal(tdp_write_protect(vm->mm, 0, range_of(GPA, 2 * block)), TDP_OK);
		flushed_of(spy, &n, L0 | L1);
		assert_int_equal(tdp_zap(vm->mm, 0, small, 0), TDP_OK);
		flushed_of(spy, &n, L0);
		assert_int_equal(tdp_zap(vm->mm, 0, huge, 0), TDP_OK);
		flushed_of(spy, &n, L1);
		/* A table goes, with all below it. */
		assert_int_equal(tdp_zap(vm->mm, 0, range_of(GPA, block), 0), TDP_OK);
		flushed_of(spy, &n, ALL);
		/* An empty one, too. */
		use(vm, 0, GPA, TDP_W);
		assert_int_equal(tdp_zap(vm->mm, 0, small, 0), TDP_OK);
		n = atomic_load(&spy->ranges);
		assert_true(tdp_compact(vm->mm, 0, range_of(GPA, block)) > 0);
		flushed_of(spy, &n, ALL);
	}
}

static void changes_say_their_levels(void **state)
{
	for (unsigned without = 0; without < 2; without++) {
		struct spy spy = {.no_levels = without};
		struct tdp_stats s;

		spy_up(&spy, state, NULL);
		small_and_huge(&spy);
		s = stats_of(&spy.vm);
		/* Twelve that said it, unless the walker does not want to know; and four of tables. */
		assert_int_equal(s.flush_leaves, without ? 0 : 12);
		assert_int_equal(s.flush_range, 16);
		vm_down(&spy.vm);
	}
}

/* A walker that has no use for ranges has none for levels. */
static void no_ranges_no_levels(void **state)
{
	struct spy spy = {.clear_caps = TDP_CAP_RANGE_FLUSH};

	spy_up(&spy, state, NULL);
	add_slot(&spy.vm, 0, GPA, TEST_PAGE, SLOT_PA, 0);
	use(&spy.vm, 0, GPA, TDP_W);
	assert_int_equal(tdp_zap(spy.vm.mm, 0, range_of(GPA, TEST_PAGE), 0), TDP_OK);
	assert_int_equal(atomic_load(&spy.ranges), 0);
	assert_int_equal(atomic_load(&spy.alls), 1);
	assert_int_equal(stats_of(&spy.vm).flush_leaves, 0);
	vm_down(&spy.vm);
}

static void harvests_say_their_levels(void **state)
{
	for (uint32_t mode = TDP_LOG_WRPROT; mode <= TDP_LOG_DBIT; mode++) {
		struct spy spy = {.on_flush = NULL};
		struct test_vm *vm = &spy.vm;
		uint64_t n, bits[1] = {0};
		uint32_t id;

		spy_up(&spy, state, NULL);
		if (mode == TDP_LOG_DBIT && !(vm->info.ad & 2)) {
			vm_down(vm);
			continue;
		}
		id = add_slot(vm, 0, GPA, 64 * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
		use(vm, 0, GPA, TDP_W);
		use(vm, 0, GPA + TEST_PAGE, TDP_R);
		n = atomic_load(&spy.ranges);
		assert_int_equal(tdp_dirty_log(vm->mm, id, mode), TDP_OK);
		flushed_of(&spy, &n, L0);
		use(vm, 0, GPA, TDP_W);
		assert_int_equal(tdp_dirty_harvest(vm->mm, id, 0, bits, 1), TDP_OK);
		assert_int_equal(bits[0] & 1, 1);
		flushed_of(&spy, &n, L0);
		/* What only the log knows of. */
		assert_int_equal(tdp_dirty_mark(vm->mm, id, 1, 1), TDP_OK);
		assert_int_equal(tdp_dirty_clear(vm->mm, id, 0, 64), TDP_OK);
		flushed_of(&spy, &n, L0);
		/* Nothing is there: nothing is known. */
		assert_int_equal(tdp_zap(vm->mm, 0, range_of(GPA, 4 * TEST_PAGE), 0), TDP_OK);
		flushed_of(&spy, &n, L0);
		assert_int_equal(tdp_dirty_mark(vm->mm, id, 1, 1), TDP_OK);
		assert_int_equal(tdp_dirty_harvest(vm->mm, id, 0, bits, 1), TDP_OK);
		assert_int_equal(bits[0] & 2, 2);
		flushed_of(&spy, &n, ALL);
		vm_down(vm);
	}
}

/* ---- what a split and a merge leave behind --------------------------------------------------- */

/* Both vCPUs have the huge page; it is split, and one of its pages goes. */
static void a_split_page_goes_with_the_huge_one(void **state)
{
	struct test_vm_options opts = {.cpus = 2};

	for (unsigned protect = 0; protect < 2; protect++) {
		struct spy spy = {.on_flush = NULL};
		struct test_vm *vm = &spy.vm;
		struct tdp_range page;
		struct tdp_emu_exit ex;
		uint64_t block, n;

		spy_up(&spy, state, &opts);
		block = block_of(vm);
		page = range_of(GPA + 3 * TEST_PAGE, TEST_PAGE);
		add_slot(vm, 0, GPA, block, SLOT_PA, 0);
		use(vm, 0, GPA, TDP_W);
		use(vm, 1, GPA, TDP_W);
		n = atomic_load(&spy.ranges);
		assert_int_equal(tdp_split(vm->mm, 0, page, TDP_PAGE_LG2), TDP_OK);
		if (breaks(&spy)) /* flushed by now: of the huge one, and it alone */
			flushed_of(&spy, &n, L1);
		assert_int_equal(n, atomic_load(&spy.ranges));
		if (protect)
			assert_int_equal(tdp_write_protect(vm->mm, 0, page), TDP_OK);
		else
			assert_int_equal(tdp_zap(vm->mm, 0, page, 0), TDP_OK);
		flushed_of(&spy, &n, breaks(&spy) ? L0 : L0 | L1);
		for (uint32_t cpu = 0; cpu < 2; cpu++)
			assert_int_not_equal(tdp_emu_access(vm->cpu[cpu].emu, page.start,
							    protect ? TDP_W : TDP_R, &ex),
					     TDP_EMU_OK);
		vm_down(vm);
	}
}

struct merged {
	struct tdp_range huge;
	bool protect, met;
	unsigned breaks; /* flushes that come before */
	uint32_t levels, first;
};

static void second_call(struct test_vm *vm, void *arg)
{
	struct merged *m = arg;
	struct tdp_emu_exit ex;
	struct spy *spy = (struct spy *)vm;
	int ret =
		m->protect ? tdp_write_protect(vm->mm, 0, m->huge) : tdp_zap(vm->mm, 0, m->huge, 0);

	m->levels = atomic_load(&spy->levels);
	if (ret)
		test_violation(&vm->env, "the second call: %s", tdp_status_name(ret));
	for (uint64_t at = 0; at < m->huge.size; at += TEST_PAGE)
		if (tdp_emu_access(vm->cpu[1].emu, m->huge.start + at, m->protect ? TDP_W : TDP_R,
				   &ex) == TDP_EMU_OK)
			test_violation(&vm->env, "page %u is used after it was promised",
				       (unsigned)(at / TEST_PAGE));
}

/* The table was merged, its pages are in TLBs, and the way to it: now somebody takes the huge page away. */
static void at_merge_flush(struct spy *spy, struct tdp_range range)
{
	struct merged *m = spy->arg;

	(void)range;
	if (m->met || m->breaks-- > 0)
		return;
	m->met = true;
	run_aside(&spy->vm, second_call, m);
}

static void a_merged_page_goes_with_the_small_ones(void **state)
{
	struct test_vm_options opts = {.cpus = 2};

	for (unsigned protect = 0; protect < 2; protect++) {
		struct spy spy = {.on_flush = NULL};
		struct test_vm *vm = &spy.vm;
		struct merged m = {.protect = protect};
		uint64_t made = 0, n;
		uint32_t id;

		spy_up(&spy, state, &opts);
		m.huge = range_of(GPA, block_of(vm));
		m.breaks =
			breaks(&spy); /* first the table's entry is broken, nothing is merged yet */
		id = add_slot(vm, 0, GPA, m.huge.size, SLOT_PA, 0);
		assert_int_equal(tdp_dirty_log(vm->mm, id, TDP_LOG_WRPROT), TDP_OK);
		assert_int_equal(tdp_populate(vm->mm, 0, m.huge, 0, NULL), TDP_OK);
		/* Of half of them it has the translation, of all the way. */
		for (uint64_t at = 0; at < m.huge.size; at += 2 * TEST_PAGE)
			use(vm, 1, GPA + at, TDP_W);
		for (uint64_t at = TEST_PAGE; at < m.huge.size; at += 2 * TEST_PAGE)
			use(vm, 0, GPA + at, TDP_W);
		assert_int_equal(tdp_dirty_log(vm->mm, id, TDP_LOG_OFF), TDP_OK);
		spy.arg = &m;
		spy.on_flush = at_merge_flush;
		assert_int_equal(tdp_collapse(vm->mm, 0, m.huge, 0, &made), TDP_OK);
		spy.on_flush = NULL;
		assert_int_equal(made, 1);
		assert_true(m.met);
		assert_int_equal(m.levels, breaks(&spy) ? L1 : ALL);
		/* What is made there later is known again only where nothing is left behind. */
		use(vm, 0, GPA, TDP_W);
		n = atomic_load(&spy.ranges);
		assert_int_equal(tdp_zap(vm->mm, 0, m.huge, 0), TDP_OK);
		flushed_of(&spy, &n, breaks(&spy) ? L1 : ALL);
		vm_down(vm);
	}
}

/* Nobody comes by: but the way to the small pages must go with them, before their table does. */
static void a_merged_table_is_forgotten(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct spy spy = {.on_flush = NULL};
	struct test_vm *vm = &spy.vm;
	struct tdp_range block;
	uint64_t made = 0;
	uint32_t id;

	spy_up(&spy, state, &opts);
	block = range_of(GPA, block_of(vm));
	id = add_slot(vm, 0, GPA, block.size, SLOT_PA, 0);
	assert_int_equal(tdp_dirty_log(vm->mm, id, TDP_LOG_WRPROT), TDP_OK);
	for (uint64_t at = 0; at < block.size; at += TEST_PAGE)
		use(vm, 0, GPA + at, TDP_W);
	for (uint64_t at = 0; at < block.size; at += 2 * TEST_PAGE)
		use(vm, 1, GPA + at, TDP_W);
	assert_int_equal(tdp_dirty_log(vm->mm, id, TDP_LOG_OFF), TDP_OK);
	assert_int_equal(tdp_collapse(vm->mm, 0, block, 0, &made), TDP_OK);
	assert_int_equal(made, 1);
	test_rcu_run(); /* the table is a trap now */
	for (uint64_t at = 0; at < block.size; at += TEST_PAGE)
		use(vm, 1, GPA + at, TDP_R);
	vm_down(vm);
}

/* ---- what others owe ------------------------------------------------------------------------- */

static void zap_again(struct test_vm *vm, void *arg)
{
	struct merged *m = arg;
	struct spy *spy = (struct spy *)vm;

	if (tdp_zap(vm->mm, 0, m->huge, 0))
		test_violation(&vm->env, "the second zap");
	m->levels = atomic_load(&spy->levels);
	if (tdp_emu_cached(vm->emu, m->huge.start, m->huge.size))
		test_violation(&vm->env, "left by the second zap");
}

static void in_the_gap(struct spy *spy, struct tdp_range range)
{
	struct merged *m = spy->arg;

	(void)range;
	if (m->met)
		return;
	m->met = true;
	m->first = atomic_load(&spy->levels);
	run_aside(&spy->vm, zap_again, m);
}

/* Of which levels others owe, nobody knows. */
static void owed_is_everything(void **state)
{
	for (unsigned huge = 0; huge < 2; huge++) {
		struct spy spy = {.on_flush = NULL};
		struct test_vm *vm = &spy.vm;
		struct merged m = {.met = false};
		uint64_t block;

		spy_up(&spy, state, NULL);
		block = block_of(vm);
		m.huge = range_of(GPA, huge ? block : TEST_PAGE);
		add_slot(vm, 0, GPA, block, SLOT_PA, huge ? 0 : TDP_SLOT_FORCE_4K);
		use(vm, 0, GPA, TDP_W);
		spy.arg = &m;
		spy.on_flush = in_the_gap;
		m.levels = L0;
		assert_int_equal(tdp_zap(vm->mm, 0, m.huge, 0), TDP_OK);
		spy.on_flush = NULL;
		assert_true(m.met);
		assert_int_equal(m.levels, ALL);
		/* The first one still knows what it has removed itself. */
		assert_int_equal(m.first, huge ? L1 : L0);
		vm_down(vm);
	}
}

struct neighbour {
	struct tdp_range cut, huge;
	bool met;
};

static void zap_neighbour(struct test_vm *vm, void *arg)
{
	struct neighbour *n = arg;

	if (tdp_zap(vm->mm, 0, n->huge, 0))
		test_violation(&vm->env, "the second zap");
	/* Its table owes nothing now, so the empty entry may be filled. */
	if (tdp_emu_cached(vm->emu, n->cut.start, n->cut.size))
		test_violation(&vm->env, "complete, and what the other one removed is left");
}

static void beside_it(struct spy *spy, struct tdp_range range)
{
	struct neighbour *n = spy->arg;

	(void)range;
	if (n->met)
		return;
	n->met = true;
	run_aside(&spy->vm, zap_neighbour, n);
}

/* Who removes a leaf beside a table that was cut off answers for both from then on. */
static void a_ticket_that_is_overwritten_was_for_everything(void **state)
{
	struct spy spy = {.on_flush = NULL};
	struct test_vm *vm = &spy.vm;
	struct neighbour n = {.met = false};
	uint64_t block;

	spy_up(&spy, state, NULL);
	block = block_of(vm);
	n.cut = range_of(GPA, block);
	n.huge = range_of(GPA + block, block);
	add_slot(vm, 0, GPA, block, SLOT_PA, TDP_SLOT_FORCE_4K);
	add_slot(vm, 0, GPA + block, block, SLOT_PA + block, 0);
	use(vm, 0, GPA, TDP_W);
	use(vm, 0, GPA + block, TDP_W);
	spy.arg = &n;
	spy.on_flush = beside_it;
	assert_int_equal(tdp_zap(vm->mm, 0, n.cut, 0), TDP_OK);
	spy.on_flush = NULL;
	assert_true(n.met);
	vm_down(vm);
}

/* ---- one call, several roots ------------------------------------------------------------------ */

struct told {
	unsigned count;
	uint32_t levels;
};

static void note_levels(struct spy *spy, struct tdp_range range)
{
	struct told *t = spy->arg;

	(void)range;
	t->levels |= atomic_load(&spy->levels);
	t->count++;
}

/* In one root a table goes, in the other a huge page: whichever comes last, the one flush is for all of it. */
static void one_flush_has_the_levels_of_all_roots(void **state)
{
	for (unsigned first = 0; first < 2; first++) {
		struct test_vm_options opts = {.cpus = 2};
		struct spy spy = {.on_flush = NULL};
		struct test_vm *vm = &spy.vm;
		struct told t = {.count = 0};
		uint64_t block;

		spy_up(&spy, state, &opts);
		block = block_of(vm);
		for (uint32_t as = 0; as < 2; as++) {
			add_slot(vm, as, GPA, block, SLOT_PA, as == first ? TDP_SLOT_FORCE_4K : 0);
			assert_int_equal(tdp_vcpu_set_as(vm->cpu[as].vcpu, as), TDP_OK);
			use(vm, as, GPA, TDP_W);
		}
		spy.arg = &t;
		spy.on_flush = note_levels;
		assert_int_equal(tdp_zap(vm->mm, TDP_AS_ALL, range_of(GPA, block), 0), TDP_OK);
		spy.on_flush = NULL;
		assert_int_equal(t.count, 1);
		assert_int_equal(t.levels, ALL);
		vm_down(vm);
	}
}

/* ---- what it is good for --------------------------------------------------------------------- */

/* A page that goes leaves the way to its neighbours; a table that goes does not. */
static void walks_go_on_from_what_is_cached(void **state)
{
	struct test_access a;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, 8 * TEST_PAGE, SLOT_PA, 0);
	for (unsigned page = 0; page < 4; page++)
		use(&vm, 0, GPA + page * TEST_PAGE, TDP_W);
	assert_int_equal(
		tdp_populate(vm.mm, 0, range_of(GPA, 8 * TEST_PAGE), TDP_POPULATE_YOUNG, NULL),
		TDP_OK);
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(GPA, TEST_PAGE), 0), TDP_OK);
	a = use(&vm, 0, GPA + 5 * TEST_PAGE, TDP_R);
	assert_int_equal(a.faults, 0);
	assert_int_equal(a.refs, 1);
	a = use(&vm, 0, GPA + TEST_PAGE, TDP_R);
	assert_int_equal(a.refs, 0);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(changes_say_their_levels),
		TEST_CASE(no_ranges_no_levels),
		TEST_CASE(harvests_say_their_levels),
		TEST_CASE(a_split_page_goes_with_the_huge_one),
		TEST_CASE(a_merged_page_goes_with_the_small_ones),
		TEST_CASE(a_merged_table_is_forgotten),
		TEST_CASE(owed_is_everything),
		TEST_CASE(a_ticket_that_is_overwritten_was_for_everything),
		TEST_CASE(one_flush_has_the_levels_of_all_roots),
		TEST_CASE(walks_go_on_from_what_is_cached),
	};

	return test_run("flush_levels", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Changing entries: what is written, counted, lost and never lost (rows U of FEATURES.md). */
#include "machine.h"

#include "base/entry.h"
#include "mm/table.h"

#define RAM (2 * MIB)

static void small_ram(struct test_vm *vm, uint32_t flags, uint32_t *id)
{
	assert_int_equal(test_vm_slot(vm, 0, 0, RAM, SLOT_PA, flags, id), TDP_OK);
}

/* ---- one entry ---- */

static void a_lost_update_changes_nothing(void **state)
{
	tdpi_entry_t entry = {0x1100};
	struct tdpi_locked l = {NULL};
	uint64_t old = 0x1000;

	(void)state;
	/* The MMU has set a bit since it was read: told, not overwritten. */
	assert_false(tdpi_entry_update(l, &entry, &old, 0x2000));
	assert_int_equal(old, 0x1100);
	assert_int_equal(tdpi_entry_load(&entry), 0x1100);
	assert_true(tdpi_entry_update(l, &entry, &old, 0x2000));
	assert_int_equal(tdpi_entry_load(&entry), 0x2000);
	/* Clearing bits leaves the others and says what was there. */
	tdpi_entry_publish(l, &entry, 0x1133);
	assert_int_equal(tdpi_entry_clear(l, &entry, 0x100), 0x1133);
	assert_int_equal(tdpi_entry_load(&entry), 0x1033);
	assert_int_equal(tdpi_entry_exchange(l, &entry, 7), 0x1033);
	assert_int_equal(tdpi_entry_load(&entry), 7);
}

/* What is cleared together: by eights, all of them alike, none without all that is asked for. */
static void entries_cleared_together_are_alike(void **state)
{
	enum { HAVE = 0x11, SETTLED = 0x70, BITS = 0x11, N = 36 };
	struct tdpi_locked l = {NULL};
	static const struct {
		unsigned odd, n,
			want; /* entry `odd` is another; of n entries so many are cleared */
		uint64_t e, other;
	} rows[] = {
		{N, N, 32, 0x1071, 0},     {N, 24, 24, 0x1071, 0},    {N, 31, 24, 0x1071, 0},
		{N, 8, 8, 0x1011, 0},      {N, N, 32, 0x1011, 0},     {0, N, 0, 0x1071, 0x1070},
		{7, N, 0, 0x1011, 0x1010}, {8, N, 8, 0x1011, 0x1001}, {15, N, 8, 0x1071, 0x1070},
		{16, N, 16, 0x1071, 0x11}, {31, N, 24, 0x1031, 0x11}, {32, N, 32, 0x1071, 0},
		{0, N, 8, 0x1071, 0x11},   {31, N, 24, 0x1011, 0},
	};

	(void)state;
	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		tdpi_entry_t e[N];

		for (unsigned i = 0; i < N; i++)
			tdpi_entry_publish(l, &e[i],
					   i == rows[row].odd ? rows[row].other : rows[row].e);
		assert_int_equal(tdpi_entries_clear(l, e, rows[row].n, HAVE, SETTLED, BITS),
				 rows[row].want);
		for (unsigned i = 0; i < N; i++) {
			uint64_t was = i == rows[row].odd ? rows[row].other : rows[row].e;

			assert_int_equal(tdpi_entry_load(&e[i]),
					 i < rows[row].want ? was & ~(uint64_t)BITS : was);
		}
	}
}

/* Of tables that nobody changes: bit by bit, whether all of eight have what is asked for, or some, or none. */
static void entries_with_all_of_the_bits(void **state)
{
	static const uint64_t patterns[] = {0, ~UINT64_C(0), UINT64_C(0xff00ff0012345681)};
	struct tdpi_locked l = {NULL};

	(void)state;
	for (size_t row = 0; row < ARRAY_LEN(patterns); row++) {
		uint64_t some = UINT64_C(0x8421f00f0ff0a5a5), want = patterns[row];
		tdpi_entry_t e[64];

		for (unsigned i = 0; i < 64; i++)
			tdpi_entry_publish(l, &e[i],
					   want >> i & 1   ? 0xf3
					   : some >> i & 1 ? 0xf1
							   : 0xf2);
		assert_int_equal(tdpi_entries_with(e, 64, 3), want);
		assert_int_equal(tdpi_entries_with(e, 16, 3), want & 0xffff);
		assert_int_equal(tdpi_entries_with(e, 64, 0xf0), ~UINT64_C(0));
	}
}

struct race {
	struct test_vm *vm;
	uint32_t cpu;
	pthread_barrier_t *start;
	_Atomic bool *stop;
	uint64_t rounds, bad;
};

static void *fault_same(void *arg)
{
	struct race *r = arg;

	r->vm->env.env.rcu->thread_register();
	for (uint64_t i = 0; i < r->rounds; i++) {
		pthread_barrier_wait(r->start);
		for (unsigned page = 0; page < 8; page++)
			r->bad += fault(r->vm, r->cpu, page * TEST_PAGE, TDP_W) < 0;
		pthread_barrier_wait(r->start);
	}
	r->vm->env.env.rcu->thread_unregister();
	return NULL;
}

/* Two vCPUs fault on the same pages at once: each page is mapped, and counted, once. */
static void racing_faults_count_once(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm vm;
	pthread_barrier_t start;
	struct race r[2];
	pthread_t thread[2];
	enum { ROUNDS = 60 };

	vm_up(&vm, state, &opts);
	small_ram(&vm, TDP_SLOT_FORCE_4K, NULL);
	pthread_barrier_init(&start, NULL, 3);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(tdp_vcpu_load(vm.cpu[i].vcpu), TDP_OK);
		r[i] = (struct race){.vm = &vm, .cpu = i, .start = &start, .rounds = ROUNDS};
		assert_int_equal(pthread_create(&thread[i], NULL, fault_same, &r[i]), 0);
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct tdp_report report = {.size = (uint32_t)sizeof(report)};

		pthread_barrier_wait(&start);
		pthread_barrier_wait(&start);
		assert_int_equal(tdp_verify(vm.mm, &report), TDP_OK);
		assert_int_equal(report.leaves[0], 8);
		assert_int_equal(stats_of(&vm).leaves[0], 8);
		assert_int_equal(tdp_zap(vm.mm, 0, range_of(0, RAM), 0), TDP_OK);
	}
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(r[i].bad, 0);
	}
	pthread_barrier_destroy(&start);
	vm_down(&vm);
}

static void fault_aside(struct test_vm *vm, void *arg)
{
	tdp_gpa_t *gpa = arg;

	if (fault(vm, 1, *gpa, TDP_W) != TDP_FAULT_FIXED)
		test_violation(&vm->env, "the first fault fixed nothing");
}

static void fault_in_resolve(struct test_backing *b, tdp_gpa_t gpa)
{
	struct test_vm *vm = b->on_resolve_arg;

	b->on_resolve = NULL; /* not for the other one */
	run_aside(vm, fault_aside, &gpa);
}

/* Between the look-up of a page and its installation another vCPU has installed it. */
static void the_second_fault_counts_nothing(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_backing b;
	struct tdp_slot_desc desc;
	struct test_vm vm;
	uint32_t id;

	vm_up(&vm, state, &opts);
	assert_int_equal(test_backing_init(&b, &vm.env, 0, MIB, SLOT_PA, 0, TDP_PAGE_LG2), TDP_OK);
	desc = test_backing_slot(&b, 0, 0);
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), TDP_OK);
	for (uint32_t cpu = 0; cpu < 2; cpu++)
		assert_int_equal(tdp_vcpu_load(vm.cpu[cpu].vcpu), TDP_OK);
	b.on_resolve_arg = &vm;
	for (unsigned page = 0; page < 4; page++) {
		b.on_resolve = fault_in_resolve;
		assert_int_equal(fault(&vm, 0, page * TEST_PAGE, page & 1 ? TDP_W : TDP_R),
				 TDP_FAULT_SPURIOUS);
		assert_null(b.on_resolve);
		assert_int_equal(leaves_of(&vm), page + 1);
		assert_int_equal(test_vm_check(&vm), 0);
	}
	assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
	test_backing_fini(&b);
	vm_down(&vm);
}

/* ---- what the MMU sets ---- */

static bool sets_dirty(const struct test_format *fmt)
{
	return !(fmt->without_caps & TDP_CAP_HW_DIRTY) && !(fmt->mm_flags & TDP_MM_NO_HW_AD);
}

static void *write_once_a_round(void *arg)
{
	struct race *r = arg;
	struct tdp_emu_exit ex;

	r->vm->env.env.rcu->thread_register();
	while (r->rounds--) {
		pthread_barrier_wait(r->start);
		r->bad += tdp_emu_access(r->vm->cpu[0].emu, 0x3000, TDP_R, &ex) != TDP_EMU_OK;
		r->bad += tdp_emu_access(r->vm->cpu[0].emu, 0x3000, TDP_W, &ex) != TDP_EMU_OK;
		atomic_store(r->stop, true);
		pthread_barrier_wait(r->start);
	}
	r->vm->env.env.rcu->thread_unregister();
	return NULL;
}

/*
 * One thread clears Accessed all the time while the MMU sets Accessed, then Dirty: Dirty stays,
 * round by round, until a harvest takes it, and no permission gets lost.
 */
static void clearing_accessed_keeps_dirty(void **state)
{
	enum { ROUNDS = 1500 };
	struct test_vm_options opts = {.emu_flags = TDP_EMU_NO_TLB};
	struct test_vm vm;
	pthread_barrier_t start;
	_Atomic bool stop = false;
	struct race r = {.vm = &vm, .stop = &stop, .start = &start, .rounds = ROUNDS};
	pthread_t thread;
	uint64_t bits[8];
	uint32_t id, lost = 0;

	vm_up(&vm, state, &opts);
	small_ram(&vm, TDP_SLOT_FORCE_4K, &id);
	assert_int_equal(test_vm_touch(&vm, 0, 0x3000, TDP_W), 0);
	assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_DBIT), TDP_OK);
	pthread_barrier_init(&start, NULL, 2);
	assert_int_equal(pthread_create(&thread, NULL, write_once_a_round, &r), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&start);
		do
			tdp_age(vm.mm, 0, range_of(0x3000, TEST_PAGE), NULL);
		while (!atomic_load(&stop));
		pthread_barrier_wait(&start);
		atomic_store(&stop, false);
		assert_int_equal(tdp_dirty_harvest(vm.mm, id, 0, bits, 8), TDP_OK);
		lost += bits[0] != 1u << 3;
	}
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&start);
	assert_int_equal(lost, 0);
	assert_int_equal(r.bad, 0);
	vm_down(&vm);
}

static void same_word_is_not_written(void **state)
{
	struct spy spy = {.sync = true};
	struct test_vm *vm = &spy.vm;
	struct test_dump before, after;
	uint64_t syncs, flushes;

	spy_up(&spy, state, NULL);
	small_ram(vm, TDP_SLOT_FORCE_4K, NULL);
	assert_int_equal(test_vm_touch(vm, 0, 0x3000, TDP_W), 0);
	syncs = atomic_load(&spy.syncs);
	flushes = broadcasts_of(vm);
	assert_true(syncs > 0);
	assert_int_equal(test_dump_take(vm, 0, &before), TDP_OK);
	assert_int_equal(fault(vm, 0, 0x3000, TDP_W), TDP_FAULT_SPURIOUS);
	assert_int_equal(fault(vm, 0, 0x3000, TDP_R), TDP_FAULT_SPURIOUS);
	assert_int_equal(tdp_populate(vm->mm, 0, range_of(0x3000, TEST_PAGE), 0, NULL), TDP_OK);
	assert_int_equal(tdp_split(vm->mm, 0, range_of(0, RAM), TDP_PAGE_LG2), TDP_OK);
	assert_int_equal(tdp_zap(vm->mm, 0, range_of(0x5000, TEST_PAGE), 0), TDP_OK);
	assert_int_equal(atomic_load(&spy.syncs), syncs);
	assert_int_equal(broadcasts_of(vm), flushes);
	assert_int_equal(test_dump_take(vm, 0, &after), TDP_OK);
	assert_int_equal(test_dump_diff(&before, &after, false), 0);
	/* Old pages stay as they are, and protected ones. */
	assert_int_equal(tdp_age(vm->mm, 0, range_of(0, RAM), NULL), 1);
	assert_int_equal(tdp_write_protect(vm->mm, 0, range_of(0, RAM)), TDP_OK);
	syncs = atomic_load(&spy.syncs);
	assert_int_equal(tdp_age(vm->mm, 0, range_of(0, RAM), NULL), 0);
	assert_int_equal(tdp_write_protect(vm->mm, 0, range_of(0, RAM)), TDP_OK);
	assert_int_equal(atomic_load(&spy.syncs), syncs);
	test_dump_free(&before);
	test_dump_free(&after);
	vm_down(vm);
}

/* ---- bookkeeping ---- */

static void churn(struct test_vm *vm, struct test_rand *r, unsigned steps)
{
	uint64_t size = test_vm_size(vm);

	for (unsigned i = 0; i < steps; i++) {
		tdp_gpa_t gpa = test_below(r, size) & ~(TEST_PAGE - 1);
		uint64_t len = test_one_in(r, 2) ? TEST_PAGE : (uint64_t)1 << huge_lg2(vm);
		struct tdp_range range = range_of(gpa & ~(len - 1), len);

		switch (test_below(r, 8)) {
		case 0: assert_int_equal(tdp_zap(vm->mm, 0, range, 0), TDP_OK); break;
		case 1: assert_int_equal(tdp_split(vm->mm, 0, range, TDP_PAGE_LG2), TDP_OK); break;
		case 2: assert_true(tdp_age(vm->mm, 0, range, NULL) >= 0); break;
		case 3:
			assert_int_equal(tdp_collapse(vm->mm, 0, everything(vm), 0, NULL), TDP_OK);
			break;
		case 4: assert_int_equal(tdp_write_protect(vm->mm, 0, range), TDP_OK); break;
		default: /* memory below the middle, MMIO above */
			test_vm_access(vm, 0, gpa, TDP_W, NULL);
		}
	}
}

static void statistics_are_a_recount(void **state)
{
	struct tdp_report report = {.size = (uint32_t)sizeof(report)};
	struct tdp_stats stats;
	struct test_rand r;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	test_rand_init(&r, test_seed());
	assert_int_equal(test_vm_slot(&vm, 0, 0, test_vm_size(&vm) / 2, 0, 0, NULL), TDP_OK);
	for (unsigned round = 0; round < 6; round++) {
		uint64_t tables = 0;

		churn(&vm, &r, 60);
		assert_int_equal(tdp_verify(vm.mm, &report), TDP_OK);
		stats = stats_of(&vm);
		for (unsigned level = 0; level < TDP_LEVELS_MAX; level++) {
			assert_int_equal(stats.leaves[level], report.leaves[level]);
			tables += stats.tables[level];
		}
		assert_int_equal(stats.mmio, report.mmio);
		assert_int_equal(tables, report.tables);
		assert_int_equal(stats.table_bytes, report.allocated * TEST_PAGE);
	}
	assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), 0), TDP_OK);
	assert_int_equal(leaves_of(&vm), 0);
	assert_int_equal(stats_of(&vm).mmio, 0);
	vm_down(&vm);
}

struct counter {
	struct test_vm *vm;
	struct tdpi_table *table[TDP_LEVELS_MAX]; /* the current one, by its own level */
	unsigned present[TDP_LEVELS_MAX], mmio[TDP_LEVELS_MAX];
	uint64_t checked;
};

static int check_count(struct counter *c, unsigned level)
{
	if (c->table[level]->present != c->present[level] ||
	    c->table[level]->mmio != c->mmio[level])
		return TDP_EIO;
	c->checked++;
	return 0;
}

static int count_entries(void *arg, const struct tdp_visit *v)
{
	struct counter *c = arg;

	if (v->when == TDP_WALK_TABLE_POST)
		return check_count(c, v->level - 1);
	c->present[v->level]++;
	c->mmio[v->level] += v->kind == TDP_ENTRY_MMIO;
	if (v->kind == TDP_ENTRY_TABLE) {
		c->table[v->level - 1] = tdpi_table_at(c->vm->mm, v->pa);
		c->present[v->level - 1] = 0;
		c->mmio[v->level - 1] = 0;
	}
	return 0;
}

static void tables_know_how_many_entries_they_have(void **state)
{
	struct tdp_report report = {.size = (uint32_t)sizeof(report)};
	struct counter c = {.checked = 0};
	struct test_rand r;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	c.vm = &vm;
	test_rand_init(&r, test_seed());
	assert_int_equal(test_vm_slot(&vm, 0, 0, test_vm_size(&vm) / 2, 0, 0, NULL), TDP_OK);
	churn(&vm, &r, 300);
	for (unsigned i = 0; i < 8; i++) /* MMIO entries, of which some go again */
		test_vm_access(&vm, 0, test_vm_size(&vm) - (i + 1) * TEST_PAGE, TDP_R, NULL);
	assert_true(stats_of(&vm).mmio >= 8);
	assert_int_equal(
		tdp_zap(vm.mm, 0, range_of(test_vm_size(&vm) - 3 * TEST_PAGE, 2 * TEST_PAGE), 0),
		TDP_OK);
	assert_int_equal(
		tdp_walk(vm.mm, 0, everything(&vm),
			 TDP_WALK_LEAF | TDP_WALK_MMIO | TDP_WALK_TABLE_PRE | TDP_WALK_TABLE_POST,
			 count_entries, &c),
		0);
	assert_int_equal(c.checked, tables_of(&vm) - vm.info.root_pages);
	assert_true(c.checked > 0);
	/* And the checker counts them. */
	vm.mm->roots->table->present++;
	assert_int_equal(tdp_verify(vm.mm, &report), TDP_EIO);
	assert_non_null(strstr(report.first, "count"));
	vm.mm->roots->table->present--;
	vm_down(&vm);
}

/* ---- other threads see whole things ---- */

struct syncs {
	struct test_vm *vm;
	const void *page[300];
	unsigned char copy[300][4096];
	size_t pages, words;
	bool broken;
};

static void at_sync(struct spy *spy, const void *va, uint64_t len)
{
	struct syncs *s = spy->arg;

	if (len == sizeof(uint64_t)) {
		/* A word of a live table: what was filled before is as it will be found. */
		for (size_t i = 0; i < s->pages; i++)
			s->broken |= memcmp(s->page[i], s->copy[i], 4096) != 0;
		s->words++;
	} else if (len <= 4096 && s->pages < ARRAY_LEN(s->page)) {
		for (size_t i = 0; i < s->pages; i++)
			s->broken |= s->page[i] == va; /* filled twice */
		s->page[s->pages] = va;
		memcpy(s->copy[s->pages++], va, 4096);
	} else {
		s->broken = true;
	}
}

static void a_split_is_complete_before_it_is_linked(void **state)
{
	struct spy spy = {.sync = true};
	struct test_vm *vm = &spy.vm;
	struct syncs *s = calloc(1, sizeof(*s));
	uint64_t lg2, tables;

	assert_non_null(s);
	spy_up(&spy, state, NULL);
	lg2 = huge_lg2(vm);
	assert_int_equal(test_vm_slot(vm, 0, 0, (uint64_t)4 << lg2, SLOT_PA, 0, NULL), TDP_OK);
	assert_int_equal(test_vm_touch(vm, 0, 0, TDP_W), 0);
	assert_int_equal(stats_of(vm).leaves[(lg2 - TDP_PAGE_LG2) / vm->info.index_lg2], 1);
	tables = tables_of(vm);
	s->vm = vm;
	spy.arg = s;
	spy.on_sync = at_sync;
	assert_int_equal(tdp_split(vm->mm, 0, range_of(0, (uint64_t)1 << lg2), TDP_PAGE_LG2),
			 TDP_OK);
	spy.on_sync = NULL;
	/*
	 * Each new table was written in one go, then one word linked it (two with break-
	 * before-make).
	 */
	assert_false(s->broken);
	assert_int_equal(s->pages, tables_of(vm) - tables);
	assert_true(s->words >= 1 && s->words <= 2);
	for (size_t i = 0; i < s->pages; i++)
		assert_memory_equal(s->page[i], s->copy[i], 4096);
	free(s);
	vm_down(vm);
}

struct lost {
	tdp_gpa_t gpa;
	unsigned fills; /* of whole tables: one for each attempt */
};

/* Between the look at the huge leaf and its replacement the MMU sets Accessed in it. */
static void use_it_meanwhile(struct spy *spy, const void *va, uint64_t len)
{
	struct lost *lost = spy->arg;
	struct tdp_emu_exit ex;

	(void)va;
	if (len == TEST_PAGE && lost->fills++ == 0)
		tdp_emu_access(spy->vm.cpu[0].emu, lost->gpa, TDP_R, &ex);
}

/* Splits by one compare-and-swap of a leaf in which the MMU may set a bit. */
static bool swaps_splits(const struct test_format *fmt)
{
	return sets_dirty(fmt) && (fmt->format == TDP_FMT_EPT || fmt->format == TDP_FMT_NPT);
}

/* U01: whoever loses to the MMU begins again with what is there now, and has counted and taken nothing. */
static void a_lost_split_is_made_again_and_counts_once(void **state)
{
	struct tdp_report report = {.size = (uint32_t)sizeof(report)};
	struct spy spy = {.sync = true};
	struct lost lost = {.gpa = 0x3000};
	struct test_vm *vm = &spy.vm;
	struct tdp_stats before, after;
	struct tdp_range range;
	struct tdp_mapping m;

	spy_up(&spy, state, NULL);
	range = range_of(0, (uint64_t)1 << huge_lg2(vm));
	assert_int_equal(test_vm_slot(vm, 0, 0, range.size, SLOT_PA, 0, NULL), TDP_OK);
	assert_int_equal(test_vm_touch(vm, 0, 0, TDP_W), 0);
	assert_int_equal(tdp_age(vm->mm, 0, range, NULL), 1);
	tdp_emu_backend.flush_all(vm->emu); /* so that the next access walks */
	before = stats_of(vm);
	spy.arg = &lost;
	spy.on_sync = use_it_meanwhile;
	assert_int_equal(tdp_split(vm->mm, 0, range, TDP_PAGE_LG2), TDP_OK);
	spy.on_sync = NULL;
	assert_int_equal(lost.fills, 2); /* the first was lost */
	after = stats_of(vm);
	assert_int_equal(after.splits, before.splits + 1);
	assert_int_equal(after.leaves[1], before.leaves[1] - 1);
	assert_int_equal(after.leaves[0], before.leaves[0] + range.size / TEST_PAGE);
	assert_int_equal(after.tables[0], before.tables[0] + 1);
	assert_int_equal(tdp_verify(vm->mm, &report), TDP_OK);
	assert_int_equal(after.leaves[0], report.leaves[0]);
	assert_int_equal(after.table_bytes, report.allocated * TEST_PAGE);
	/* And the parts have the bit that came in between. */
	assert_int_equal(translate(vm, 0, 0x5000, &m), TDP_OK);
	assert_true(m.flags & TDP_MAP_ACCESSED);
	vm_down(vm);
}

static void *read_on(void *arg)
{
	struct race *r = arg;
	struct test_vm *vm = r->vm;
	uint64_t size = (uint64_t)1 << huge_lg2(vm);

	vm->env.env.rcu->thread_register();
	do {
		tdp_gpa_t gpa = (r->rounds++ * 37 * TEST_PAGE) & (size - 1);
		struct tdp_emu_exit ex;
		struct tdp_mapping m;

		if (translate(vm, 0, gpa, &m) != TDP_OK || m.pa + (gpa - m.gpa) != SLOT_PA + gpa)
			r->bad++;
		/* With break-before-make the MMU may fault, and waits. */
		if (vm->info.format != TDP_FMT_S2_4K && vm->info.format != TDP_FMT_TEST &&
		    (tdp_emu_access(vm->cpu[0].emu, gpa, TDP_R, &ex) != TDP_EMU_OK ||
		     ex.pa != SLOT_PA + gpa))
			r->bad++;
	} while (!atomic_load(r->stop));
	vm->env.env.rcu->thread_unregister();
	return NULL;
}

static void nobody_sees_a_hole_in_a_split(void **state)
{
	struct test_vm_options opts = {.emu_flags = TDP_EMU_NO_TLB};
	struct test_vm vm;
	_Atomic bool stop = false;
	struct race r = {.vm = &vm, .stop = &stop};
	struct tdp_range range;
	pthread_t thread;
	uint64_t made;

	vm_up(&vm, state, &opts);
	range = range_of(0, (uint64_t)1 << huge_lg2(&vm));
	assert_int_equal(test_vm_slot(&vm, 0, 0, 2 * range.size, SLOT_PA, 0, NULL), TDP_OK);
	assert_int_equal(test_vm_touch(&vm, 0, 0, TDP_R), 0);
	assert_int_equal(pthread_create(&thread, NULL, read_on, &r), 0);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(tdp_split(vm.mm, 0, range, TDP_PAGE_LG2), TDP_OK);
		assert_int_equal(tdp_collapse(vm.mm, 0, range, 0, &made), TDP_OK);
		if (i % 16 == 0)
			test_rcu_run();
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	assert_true(r.rounds > 0);
	assert_int_equal(r.bad, 0);
	vm_down(&vm);
}

/* ---- break before make ---- */

static void live_sizes_are_broken_first(void **state)
{
	bool bbm = format_of(state)->format == TDP_FMT_S2_4K ||
		   format_of(state)->format == TDP_FMT_TEST;

	for (uint32_t level = 0; level < 3; level += 2) {
		struct test_vm_options opts = {.emu_flags = level ? 0 : TDP_EMU_CHECK_TWINS};
		struct spy spy = {.bbm_level = level};
		struct test_vm *vm = &spy.vm;
		struct tdp_range range;
		uint64_t breaks;

		spy_up(&spy, state, &opts);
		range = range_of(0, (uint64_t)1 << huge_lg2(vm));
		assert_int_equal(test_vm_slot(vm, 0, 0, 2 * range.size, SLOT_PA, 0, NULL), TDP_OK);
		assert_int_equal(test_vm_touch(vm, 0, 0x1000, TDP_W), 0);
		assert_int_equal(tdp_split(vm->mm, 0, range, TDP_PAGE_LG2), TDP_OK);
		breaks = stats_of(vm).flush_cause[TDP_FLUSH_BREAK];
		if (format_of(state)->format == TDP_FMT_S2_4K)
			assert_int_equal(breaks, level == 0); /* FEAT_BBM level 2 needs none */
		if (!bbm)
			assert_int_equal(breaks, 0);
		/* The walker would have told of two sizes held at once. */
		assert_int_equal(test_vm_touch(vm, 0, 0x1000, TDP_W), 0);
		assert_int_equal(test_vm_touch(vm, 0, 0x2000, TDP_R), 0);
		vm_down(vm);
	}
}

/* ---- all or nothing ---- */

static void populate_without_memory_changes_nothing(void **state)
{
	struct test_vm_options opts = {.chunk_lg2 = TEST_CHUNK_SMALL};
	struct test_vm vm;
	struct test_dump before, after;
	uint64_t refused = 0;
	int ret = TDP_ENOMEM;

	vm_up(&vm, state, &opts);
	assert_int_equal(test_vm_slot(&vm, 0, 0, test_vm_size(&vm), 0, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	assert_int_equal(test_vm_touch(&vm, 0, 0, TDP_W), 0);
	for (int64_t n = 1; ret == TDP_ENOMEM; n++) {
		/* More tables than a chunk has pages. */
		struct tdp_range range = range_of(RAM / 2 + test_vm_size(&vm) / 2,
						  RAM << (format_of(state)->chunk_lg2 - 13));
		uint64_t done = 0;

		assert_int_equal(test_dump_take(&vm, 0, &before), TDP_OK);
		test_env_fail(&vm.env, n);
		ret = tdp_populate(vm.mm, 0, range, 0, &done);
		test_env_fail(&vm.env, 0);
		if (ret == TDP_ENOMEM) {
			refused++;
			assert_int_equal(done, 0);
			assert_int_equal(test_dump_take(&vm, 0, &after), TDP_OK);
			assert_int_equal(test_dump_diff(&before, &after, false), 0);
			test_dump_free(&after);
		}
		test_dump_free(&before);
	}
	assert_int_equal(ret, TDP_OK);
	assert_true(refused >= 1);
	vm_down(&vm);
}

static void strict_calls_refuse(void **state)
{
	struct tdp_range two = range_of(0x4000, 2 * TEST_PAGE), one = range_of(0x5000, TEST_PAGE);
	struct test_dump before, after;
	struct test_backing b;
	struct tdp_slot_desc desc;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	assert_int_equal(
		test_backing_init(&b, &vm.env, 0, MIB, SLOT_PA, TDP_R | TDP_W, TDP_PAGE_LG2),
		TDP_OK);
	desc = test_backing_slot(&b, 0, 0);
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &(uint32_t){0}), TDP_OK);
	assert_int_equal(test_vm_touch(&vm, 0, one.start, TDP_W), 0);
	assert_int_equal(test_dump_take(&vm, 0, &before), TDP_OK);
	/* Map only what is unmapped, unmap only what is mapped. */
	assert_int_equal(tdp_populate(vm.mm, 0, two, TDP_POPULATE_STRICT, NULL), TDP_EEXIST);
	assert_int_equal(tdp_zap(vm.mm, 0, two, TDP_ZAP_STRICT), TDP_ENOENT);
	/* A present leaf is never pointed at another page: somebody forgot to invalidate. */
	test_backing_drop(&b, one);
	b.prot = TDP_RWX;
	assert_int_equal(fault(&vm, 0, one.start, TDP_X), TDP_EEXIST);
	assert_int_equal(test_dump_take(&vm, 0, &after), TDP_OK);
	assert_int_equal(test_dump_diff(&before, &after, false), 0);
	assert_int_equal(tdp_zap(vm.mm, 0, one, TDP_ZAP_STRICT), TDP_OK);
	assert_int_equal(tdp_populate(vm.mm, 0, two, TDP_POPULATE_STRICT, NULL), TDP_OK);
	assert_int_equal(leaves_of(&vm), 2);
	test_dump_free(&before);
	test_dump_free(&after);
	assert_int_equal(tdp_slot_remove(vm.mm, 0), TDP_OK);
	test_backing_fini(&b);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(a_lost_update_changes_nothing, first_format),
		TEST_CASE_IF(entries_cleared_together_are_alike, first_format),
		TEST_CASE_IF(entries_with_all_of_the_bits, first_format),
		TEST_CASE(racing_faults_count_once),
		TEST_CASE(the_second_fault_counts_nothing),
		TEST_CASE_IF(clearing_accessed_keeps_dirty, sets_dirty),
		TEST_CASE(same_word_is_not_written),
		TEST_CASE(statistics_are_a_recount),
		TEST_CASE(tables_know_how_many_entries_they_have),
		TEST_CASE(a_split_is_complete_before_it_is_linked),
		TEST_CASE_IF(a_lost_split_is_made_again_and_counts_once, swaps_splits),
		TEST_CASE(nobody_sees_a_hole_in_a_split),
		TEST_CASE(live_sizes_are_broken_first),
		TEST_CASE(populate_without_memory_changes_nothing),
		TEST_CASE(strict_calls_refuse),
	};

	return test_run("update", cases, ARRAY_LEN(cases));
}

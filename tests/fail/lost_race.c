/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lost races, each made certain: somebody else does his work at the moment in which an operation has looked and not
 * yet acted (in resolve(), in an allocation, while a table is filled). The loser answers as he should, uses what is
 * there now, gives back what he had prepared, and nothing is left over.
 */
#include "unit/steps.h"

#include <sched.h>

#include "mm/mm.h"

#define GPA GIB
#define BLOCKS 3u

struct race {
	struct spy spy;
	struct test_vm *vm;
	struct test_backing mem;
	uint64_t block;
	uint32_t slot;
	void (*winner)(struct test_vm *vm, struct race *r);
	unsigned met;
	bool reading, removing; /* the loser is in a read-side section: no grace period ends */
	pthread_t removal;      /* goes on when the loser is through */
	struct tdp_root *root;
};

static tdp_gpa_t at(const struct race *r, unsigned n)
{
	return GPA + n * r->block;
}

static struct tdp_range memory(const struct race *r)
{
	return range_of(GPA, BLOCKS * r->block);
}

static void ok(struct race *r, const char *what, int status)
{
	if (status < 0)
		test_violation(&r->vm->env, "%s: %s", what, tdp_status_name(status));
}

/* ---- the moment ------------------------------------------------------------------------------ */

static void win(struct test_vm *vm, void *arg)
{
	struct race *r = arg;

	r->winner(vm, r);
}

static void now(struct race *r)
{
	if (!r->winner || r->met++)
		return;
	run_aside(r->vm, win, r);
}

static void at_resolve(struct test_backing *mem, tdp_gpa_t gpa)
{
	(void)gpa;
	now(mem->on_resolve_arg);
}

static void at_alloc(void *arg)
{
	now(arg);
}

/* A whole table: it is being filled, and no lock is held. */
static void at_fill(struct spy *spy, const void *va, uint64_t len)
{
	(void)va;
	if (len > sizeof(uint64_t))
		now(spy->arg);
}

/* ---- the machine ----------------------------------------------------------------------------- */

enum state {
	EMPTY,     /* nothing is mapped */
	NEIGHBOUR, /* one page of block 0 */
	SMALL,     /* all, in 4K pages */
	HUGE,      /* all, in huge pages */
	MIXED,     /* block 0 huge, the others small */
};

static void fill_up(struct race *r, enum state state)
{
	struct tdp_range small = memory(r);

	if (state == NEIGHBOUR)
		use(r->vm, 0, GPA + TEST_PAGE, TDP_W);
	if (state == EMPTY || state == NEIGHBOUR)
		return;
	/* What the backing did not permit then it permits now, and a write has to ask it. */
	r->mem.prot = state == MIXED ? TDP_RWX : TDP_R | TDP_X;
	for (unsigned n = 0; n < BLOCKS; n++)
		use(r->vm, 0, at(r, n), state == MIXED ? TDP_W : TDP_R);
	r->mem.prot = TDP_RWX;
	if (state == MIXED)
		small = range_of(at(r, 1), (BLOCKS - 1) * r->block);
	if (state != HUGE)
		assert_int_equal(tdp_split(r->vm->mm, 0, small, TDP_PAGE_LG2), TDP_OK);
}

/* small: the backing has no huge pages. */
static void race_up(struct race *r, void **state, enum state what, bool small)
{
	struct test_vm_options opts = {.cpus = 2, .chunk_lg2 = TEST_CHUNK_SMALL};
	struct tdp_slot_desc desc;

	memset(r, 0, sizeof(*r));
	r->spy.sync = true;
	spy_up(&r->spy, state, &opts);
	r->vm = &r->spy.vm;
	r->spy.arg = r;
	r->block = block_of(r->vm);
	assert_int_equal(test_backing_init(&r->mem, &r->vm->env, GPA, BLOCKS * r->block, SLOT_PA, 0,
					   small ? TDP_PAGE_LG2 : test_vm_lg2(r->vm, 1)),
			 TDP_OK);
	desc = test_backing_slot(&r->mem, 0, 0);
	assert_int_equal(tdp_slot_add(r->vm->mm, &desc, &r->slot), TDP_OK);
	load(r->vm, 0);
	load(r->vm, 1);
	fill_up(r, what);
	r->mem.on_resolve_arg = r;
	r->vm->env.on_alloc_arg = r;
}

/* The race is over: everything of today can be used, nothing else, and nothing is left. */
static void race_down(struct race *r)
{
	bool there;

	if (r->removing) /* it has hooks to look at, too */
		pthread_join(r->removal, NULL);
	r->mem.on_resolve = NULL;
	r->vm->env.on_alloc = NULL;
	r->spy.on_sync = NULL;
	assert_true(test_backing_balanced(&r->mem));
	there = tdp_slot_find(r->vm->mm, 0, GPA, NULL, NULL) == TDP_OK;
	for (unsigned n = 0; n < BLOCKS; n++) {
		struct test_access a;
		int answer = test_vm_access(r->vm, 0, at(r, n), TDP_R, &a);

		assert_int_equal(answer, there ? TEST_OK : TEST_OUTCOME);
		if (there)
			assert_int_equal(a.pa, test_backing_pa(&r->mem, at(r, n)));
		else
			assert_int_equal(a.outcome, TDP_FAULT_MMIO);
	}
	assert_int_equal(tdp_slot_remove(r->vm->mm, r->slot), there ? TDP_OK : TDP_ENOENT);
	test_backing_fini(&r->mem);
	vm_down(r->vm);
}

/* What was retired is free, and may serve others, before the loser goes on. */
static void free_retired(struct race *r)
{
	if (!r->reading)
		test_rcu_run();
}

/* ---- winners --------------------------------------------------------------------------------- */

static void faults(struct test_vm *vm, struct race *r)
{
	ok(r, "fault", fault(vm, 1, GPA, TDP_W));
}

static void faults_beside(struct test_vm *vm, struct race *r)
{
	ok(r, "fault", fault(vm, 1, GPA + 2 * TEST_PAGE, TDP_W));
}

static void zaps_page(struct test_vm *vm, struct race *r)
{
	ok(r, "zap", tdp_zap(vm->mm, 0, range_of(GPA, TEST_PAGE), TDP_ZAP_LAZY));
}

static void zaps_all(struct test_vm *vm, struct race *r)
{
	ok(r, "zap", tdp_zap(vm->mm, 0, memory(r), 0));
	free_retired(r);
}

static void invalidates(struct test_vm *vm, struct race *r)
{
	ok(r, "discard", test_backing_discard(&r->mem, vm->mm, 0, memory(r)));
}

static void begins(struct test_vm *vm, struct race *r)
{
	ok(r, "begin", tdp_invalidate_begin(vm->mm, memory(r)));
}

static void compacts(struct test_vm *vm, struct race *r)
{
	ok(r, "zap", tdp_zap(vm->mm, 0, range_of(GPA + TEST_PAGE, TEST_PAGE), 0));
	ok(r, "compact", tdp_compact(vm->mm, 0, memory(r)));
	free_retired(r);
}

static void splits(struct test_vm *vm, struct race *r)
{
	ok(r, "split", tdp_split(vm->mm, 0, memory(r), TDP_PAGE_LG2));
}

static void collapses(struct test_vm *vm, struct race *r)
{
	ok(r, "collapse", tdp_collapse(vm->mm, 0, memory(r), 0, NULL));
}

static void protects(struct test_vm *vm, struct race *r)
{
	ok(r, "protect", tdp_write_protect(vm->mm, 0, memory(r)));
}

static void makes_readonly(struct test_vm *vm, struct race *r)
{
	ok(r, "flags", tdp_slot_set_flags(vm->mm, r->slot, TDP_SLOT_READONLY));
	ok(r, "flags", tdp_slot_set_flags(vm->mm, r->slot, 0));
}

static void logs(struct test_vm *vm, struct race *r)
{
	ok(r, "log", tdp_dirty_log(vm->mm, r->slot, TDP_LOG_WRPROT));
}

static void tracks(struct test_vm *vm, struct race *r)
{
	ok(r, "track", tdp_write_track(vm->mm, 0, range_of(GPA, TEST_PAGE), true));
}

static void takes(struct test_vm *vm, struct race *r)
{
	ok(r, "owner", tdp_set_owner(vm->mm, 0, memory(r), 3));
	ok(r, "owner", tdp_set_owner(vm->mm, 0, memory(r), 0));
}

static void drops_roots(struct test_vm *vm, struct race *r)
{
	ok(r, "roots", tdp_roots_invalidate(vm->mm));
	ok(r, "reclaim", tdp_roots_reclaim(vm->mm, 0));
	free_retired(r);
}

static void populates(struct test_vm *vm, struct race *r)
{
	ok(r, "populate", tdp_populate(vm->mm, 0, memory(r), 0, NULL));
}

static void remove_aside(struct test_vm *vm, void *arg)
{
	struct race *r = arg;

	ok(r, "remove", tdp_slot_remove(vm->mm, r->slot));
}

/* The removal waits for the look-up under way; from here on nobody finds the slot. */
static void removes(struct test_vm *vm, struct race *r)
{
	static struct aside a;

	a = (struct aside){vm, remove_aside, r};
	if (pthread_create(&r->removal, NULL, aside_thread, &a) != 0)
		abort();
	r->removing = true;
	while (tdp_slot_find(vm->mm, 0, GPA, NULL, NULL) == TDP_OK)
		sched_yield();
}

static void gets_root(struct test_vm *vm, struct race *r)
{
	ok(r, "root_get", tdp_root_get(vm->mm, tdp_role_root(vm->mm, 1), &r->root));
}

static void gets_other_root(struct test_vm *vm, struct race *r)
{
	ok(r, "root_get", tdp_root_get(vm->mm, tdp_role_root(vm->mm, 2), &r->root));
}

struct winner {
	const char *name;
	void (*run)(struct test_vm *vm, struct race *r);
	int answer; /* of the loser */
};

/* ---- a fault loses --------------------------------------------------------------------------- */

static void one_fault(void **state, enum state what, const struct winner *w, bool small, bool fill)
{
	struct race r;
	uint64_t used;
	int got;

	race_up(&r, state, what, small);
	used = r.mem.released_mapped;
	r.winner = w->run;
	r.mem.on_resolve = fill ? NULL : at_resolve;
	r.spy.on_sync = fill ? at_fill : NULL;
	r.reading = fill;
	got = fault(r.vm, 0, GPA, TDP_W);
	if (!r.met || got != w->answer)
		fail_msg("a fault (%u) that loses to a %s%s: %d", what, w->name,
			 fill ? " while it fills a table" : "", got);
	if (w->run == begins)
		assert_int_equal(tdp_invalidate_end(r.vm->mm, memory(&r)), TDP_OK);
	if (got != TDP_FAULT_FIXED && w->run != faults && w->run != faults_beside)
		assert_int_equal(r.mem.released_mapped, used);
	r.winner = NULL;
	race_down(&r);
}

static void faults_lose(void **state)
{
	static const struct winner unmapped[] = {
		{"fault", faults, TDP_FAULT_SPURIOUS},
		{"fault beside it", faults_beside, TDP_FAULT_SPURIOUS}, /* in a huge page */
		{"populate", populates, TDP_FAULT_FIXED},               /* that gave no W */
		{"zap", zaps_all, TDP_FAULT_FIXED},
		{"invalidation", invalidates, TDP_FAULT_RETRY},
		{"running invalidation", begins, TDP_FAULT_RETRY},
		{"change of flags", makes_readonly, TDP_FAULT_RETRY},
		{"log", logs, TDP_FAULT_RETRY},
		{"tracking", tracks, TDP_FAULT_RETRY},
		{"new owner", takes, TDP_FAULT_RETRY},
		{"invalidation of roots", drops_roots, TDP_FAULT_RETRY},
		{"removal of the slot", removes, TDP_FAULT_RETRY},
	};
	static const struct winner small[] = {
		{"collapse", collapses, TDP_FAULT_FIXED},
		{"write protection", protects, TDP_FAULT_FIXED},
		{"zap of the page", zaps_page, TDP_FAULT_FIXED},
		{"zap", zaps_all, TDP_FAULT_FIXED},
		{"fault", faults, TDP_FAULT_SPURIOUS},
		{"invalidation", invalidates, TDP_FAULT_RETRY},
		{"invalidation of roots", drops_roots, TDP_FAULT_RETRY},
		{"removal of the slot", removes, TDP_FAULT_RETRY},
	};
	static const struct winner huge[] = {
		{"split", splits, TDP_FAULT_FIXED},
		{"write protection", protects, TDP_FAULT_FIXED},
		{"zap", zaps_all, TDP_FAULT_FIXED},
		{"fault", faults, TDP_FAULT_SPURIOUS},
		{"invalidation", invalidates, TDP_FAULT_RETRY},
		{"removal of the slot", removes, TDP_FAULT_RETRY},
	};
	/* While it fills a table that it wants to link: its parent may go, or get another child. */
	static const struct winner filling[] = {
		{"fault", faults, TDP_FAULT_SPURIOUS},
		{"fault beside it", faults_beside, TDP_FAULT_FIXED},
		{"populate", populates, TDP_FAULT_FIXED},
		{"zap", zaps_all, TDP_FAULT_FIXED},
		{"running invalidation", begins, TDP_FAULT_RETRY},
		{"invalidation of roots", drops_roots, TDP_FAULT_RETRY},
	};

	for (size_t i = 0; i < ARRAY_LEN(unmapped); i++)
		one_fault(state, EMPTY, &unmapped[i], false, false);
	for (size_t i = 0; i < ARRAY_LEN(small); i++)
		one_fault(state, SMALL, &small[i], false, false);
	for (size_t i = 0; i < ARRAY_LEN(huge); i++)
		one_fault(state, HUGE, &huge[i], false, false);
	for (size_t i = 0; i < ARRAY_LEN(filling); i++)
		one_fault(state, EMPTY, &filling[i], true, true);
	one_fault(state, NEIGHBOUR, &(struct winner){"compact", compacts, TDP_FAULT_FIXED}, true,
		  false);
}

/* ---- populate loses -------------------------------------------------------------------------- */

static void populate_loses(void **state)
{
	static const struct winner winners[] = {
		{"fault", faults, TDP_OK},
		{"populate", populates, TDP_OK},
		{"zap of its tables", zaps_all, TDP_OK},
		{"invalidation", invalidates, TDP_OK},
		{"compact", compacts, TDP_OK},
		{"change of flags", makes_readonly, TDP_OK},
		{"invalidation of roots", drops_roots, TDP_EAGAIN},
		{"removal of the slot", removes, TDP_ENOENT},
	};

	for (size_t i = 0; i < ARRAY_LEN(winners); i++) {
		uint64_t done = 0;
		struct race r;
		int got;

		/* All its tables are there when it counts them, but for those of one page. */
		race_up(&r, state, NEIGHBOUR, true);
		for (unsigned n = 1; n < BLOCKS; n++)
			use(r.vm, 0, at(&r, n), TDP_W);
		r.winner = winners[i].run;
		r.mem.on_resolve = at_resolve;
		got = tdp_populate(r.vm->mm, 0, memory(&r), 0, &done);
		if (!r.met || got != winners[i].answer ||
		    (got == TDP_OK) != (done == BLOCKS * r.block))
			fail_msg("populate loses to a %s: %s, %#llx done", winners[i].name,
				 tdp_status_name(got), (unsigned long long)done);
		r.winner = NULL;
		for (uint64_t gpa = GPA; got == TDP_OK && gpa < at(&r, BLOCKS); gpa += TEST_PAGE)
			assert_true(mapped(r.vm, 0, gpa));
		race_down(&r);
	}
}

/* ---- splits, and what splits at its edges, lose ---------------------------------------------- */

static int split_all(struct race *r)
{
	return tdp_split(r->vm->mm, 0, memory(r), TDP_PAGE_LG2);
}

/* Half of the first and of the last block. */
static struct tdp_range halves(const struct race *r)
{
	return range_of(GPA + r->block / 2, (BLOCKS - 1) * r->block);
}

static int zap_halves(struct race *r)
{
	return tdp_zap(r->vm->mm, 0, halves(r), 0);
}

static int protect_halves(struct race *r)
{
	return tdp_write_protect(r->vm->mm, 0, halves(r));
}

/* Split: no huge page is left. Else nothing inside can be used, or written, without a fault. */
static void has_split(struct race *r, const char *name, int (*fn)(struct race *r))
{
	struct tdp_range inside = fn == split_all ? memory(r) : halves(r);

	for (uint64_t gpa = inside.start; gpa < inside.start + inside.size; gpa += TEST_PAGE) {
		struct tdp_mapping m;

		if (translate(r->vm, 0, gpa, &m) != TDP_OK)
			continue;
		if (fn == zap_halves || (fn == protect_halves && m.prot & TDP_W) ||
		    (fn == split_all && m.lg2 != TDP_PAGE_LG2))
			fail_msg("lost to a %s: %#llx has lg2 %u, prot %#x", name,
				 (unsigned long long)gpa, m.lg2, m.prot);
	}
}

static void splits_lose(void **state)
{
	static int (*const losers[])(struct race * r) = {split_all, zap_halves, protect_halves};
	static const struct winner winners[] = {
		{"split", splits, TDP_OK},
		{"zap", zaps_all, TDP_OK},
		{"fault", faults, TDP_OK},
		{"write protection", protects, TDP_OK},
		{"invalidation", invalidates, TDP_OK},
		/* What was small, and had no table counted for it, is huge. */
		{"collapse", collapses, TDP_OK},
		{"invalidation of roots", drops_roots, TDP_OK},
	};

	for (size_t k = 0; k < ARRAY_LEN(losers); k++) {
		for (size_t i = 0; i < ARRAY_LEN(winners); i++) {
			struct race r;
			int got;

			race_up(&r, state, MIXED, false);
			tdp_vcpu_topup(r.vm->cpu[1].vcpu);
			r.winner = winners[i].run;
			r.vm->env.on_alloc = at_alloc;
			got = losers[k](&r);
			r.vm->env.on_alloc = NULL;
			r.winner = NULL;
			if (!r.met || got != winners[i].answer)
				fail_msg("%zu loses to a %s: %s", k, winners[i].name,
					 tdp_status_name(got));
			/* What was made huge after the count is the only thing that a split may leave. */
			if (losers[k] != split_all || winners[i].run != collapses)
				has_split(&r, winners[i].name, losers[k]);
			race_down(&r);
		}
	}
}

/* ---- collapse loses -------------------------------------------------------------------------- */

static void collapse_loses(void **state)
{
	static const struct winner winners[] = {
		{"collapse", collapses, 0},
		{"zap of a page", zaps_page, BLOCKS - 1},
		{"zap", zaps_all, 0},
		{"write protection", protects, BLOCKS},
		{"invalidation", invalidates, 0},
		{"running invalidation", begins, 0},
		{"change of flags", makes_readonly, 0},
		{"tracking", tracks, BLOCKS - 1},
		{"log", logs, 0},
		{"invalidation of roots", drops_roots, 0},
		{"removal of the slot", removes, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(winners); i++) {
		uint64_t made = 77;
		struct race r;
		int got;

		race_up(&r, state, SMALL, false);
		r.winner = winners[i].run;
		r.mem.on_resolve = at_resolve;
		got = tdp_collapse(r.vm->mm, 0, memory(&r), 0, &made);
		if (!r.met || got != TDP_OK || made != (uint64_t)winners[i].answer)
			fail_msg("a collapse that loses to a %s: %s, %llu made", winners[i].name,
				 tdp_status_name(got), (unsigned long long)made);
		if (winners[i].run == begins)
			assert_int_equal(tdp_invalidate_end(r.vm->mm, memory(&r)), TDP_OK);
		r.winner = NULL;
		race_down(&r);
	}
}

/* ---- roots and slots ------------------------------------------------------------------------- */

/* One root more than before: the winner's. What the loser had made is given back. */
static void one_root_get(void **state, void (*winner)(struct test_vm *vm, struct race *r), int want)
{
	struct tdp_stats before, after;
	struct tdp_root *root = NULL;
	struct race r;

	race_up(&r, state, EMPTY, false);
	r.vm->mm->max_roots = 2;
	before = stats_of(r.vm);
	r.winner = winner;
	r.vm->env.on_alloc = at_alloc;
	assert_int_equal(tdp_root_get(r.vm->mm, tdp_role_root(r.vm->mm, 1), &root), want);
	r.vm->env.on_alloc = NULL;
	assert_true(r.met);
	assert_ptr_equal(root, want == TDP_OK ? r.root : NULL);
	after = stats_of(r.vm);
	assert_int_equal(after.root_creates, before.root_creates + 1);
	assert_int_equal(after.roots_valid, before.roots_valid + 1);
	assert_int_equal(after.table_bytes, before.table_bytes + r.vm->info.root_pages * TEST_PAGE);
	if (root)
		assert_int_equal(tdp_root_put(r.vm->mm, root), 0);
	assert_int_equal(tdp_root_put(r.vm->mm, r.root), 0);
	r.winner = NULL;
	race_down(&r);
}

static void root_get_loses(void **state)
{
	one_root_get(state, gets_root, TDP_OK);
}

/* The last place goes to somebody else while the root is made. */
static void root_get_loses_its_place(void **state)
{
	one_root_get(state, gets_other_root, TDP_ENOSPC);
}

static void adds_slot(struct test_vm *vm, struct race *r)
{
	ok(r, "slot_add", test_vm_slot(vm, 0, GPA / 2, TEST_PAGE, SLOT_PA, 0, NULL));
}

static void slot_add_loses(void **state)
{
	uint32_t id = 77;
	struct race r;

	race_up(&r, state, EMPTY, false);
	r.winner = adds_slot;
	r.vm->env.on_alloc = at_alloc;
	assert_int_equal(test_vm_slot(r.vm, 0, GPA / 2, 2 * TEST_PAGE, SLOT_PA, 0, &id),
			 TDP_EEXIST);
	r.vm->env.on_alloc = NULL;
	assert_true(r.met);
	assert_int_equal(id, 77);
	assert_int_equal(use(r.vm, 0, GPA / 2, TDP_W).pa, SLOT_PA);
	stopped(r.vm, 0, GPA / 2 + TEST_PAGE, TDP_W, TDP_FAULT_MMIO);
	r.winner = NULL;
	race_down(&r);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(faults_lose),    TEST_CASE(populate_loses),
		TEST_CASE(splits_lose),    TEST_CASE(collapse_loses),
		TEST_CASE(root_get_loses), TEST_CASE(root_get_loses_its_place),
		TEST_CASE(slot_add_loses),
	};

	return test_run("lost_race", cases, ARRAY_LEN(cases));
}

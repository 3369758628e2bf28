/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Table pages: where they come from, when they go, who may look at them until then (rows U, R
 * of FEATURES.md).
 */
#include "machine.h"

#include "mm/table.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define RAM (2 * MIB)

/* A page every sixteenth of the space: many tables, few leaves. */
static void map_sparse(struct test_vm *vm)
{
	uint64_t size = test_vm_size(vm);

	assert_int_equal(test_vm_slot(vm, 0, 0, size, 0, TDP_SLOT_FORCE_4K, NULL), TDP_OK);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(test_vm_touch(vm, 0, size / 16 * i + i * TEST_PAGE, TDP_W), 0);
}

/* ---- going ---- */

static void cut_off_tables_come_back(void **state)
{
	struct tdp_report report = {.size = (uint32_t)sizeof(report)};
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	map_sparse(&vm);
	assert_int_equal(
		tdp_zap(vm.mm, 0, range_of(test_vm_size(&vm) / 2, test_vm_size(&vm) / 2), 0),
		TDP_OK);
	assert_int_equal(tdp_verify(vm.mm, &report), TDP_OK);
	assert_true(report.retired > 0);
	assert_int_equal(report.allocated, report.tables + report.retired + report.cached);
	assert_int_equal(report.leaves[0], 8);
	test_rcu_run();
	assert_int_equal(tdp_verify(vm.mm, &report), TDP_OK);
	assert_int_equal(report.retired, 0);
	assert_int_equal(report.allocated, report.tables + report.cached);
	vm_down(&vm);
}

static void zap_all_aside(struct test_vm *vm, void *arg)
{
	(void)arg;
	if (tdp_zap(vm->mm, 0, everything(vm), 0) != TDP_OK)
		test_violation(&vm->env, "zap failed");
}

static int first_tables(void *arg, const struct tdp_visit *v)
{
	const struct tdp_visit **next = arg;
	struct tdp_visit *out = (struct tdp_visit *)(uintptr_t)*next;

	*out = *v;
	++*next;
	return v->level == 1 ? TDP_EEXIST : 0;
}

static void tables_wait_for_readers(void **state)
{
	struct tdp_visit path[TDP_LEVELS_MAX] = {0};
	struct tdp_path leaf = {.size = (uint32_t)sizeof(leaf)};
	const struct tdp_visit *next = path;
	struct tdpi_locked l;
	struct test_vm vm;
	uint64_t tables;

	vm_up(&vm, state, NULL);
	map_sparse(&vm);
	assert_int_equal(tdp_walk_gpa(vm.mm, 0, 0, &leaf), TDP_OK);
	assert_int_equal(leaf.kind[0], TDP_ENTRY_LEAF);
	tables = atomic_load(&vm.env.tables);
	test_rcu.read_lock(); /* the reader; a call's own section is inside it */
	assert_int_equal(
		tdp_walk(vm.mm, 0, everything(&vm), TDP_WALK_TABLE_PRE, first_tables, &next),
		TDP_EEXIST);
	tdpi_rcu_lock(vm.mm);
	run_aside(&vm, zap_all_aside, NULL);
	/* Unlinked and flushed, but here is a reader: what it has found is whole, and marked. */
	assert_int_equal(atomic_load(&vm.env.tables), tables);
	for (const struct tdp_visit *v = path; v < next; v++) {
		struct tdpi_table *t = tdpi_table_at(vm.mm, v->pa);

		assert_int_equal(t->state, TDPI_TABLE_STALE);
		assert_false(tdpi_table_lock(vm.mm, t, &l));
		if (v->level > 1)
			continue;
		assert_true(t->present > 0);
		assert_int_equal(tdpi_entry_load(tdpi_table_entries(vm.mm, t)), leaf.entry[0]);
	}
	tdpi_rcu_unlock(vm.mm);
	test_rcu.read_unlock();
	test_rcu_run();
	assert_true(atomic_load(&vm.env.tables) < tables);
	vm_down(&vm);
}

/* The walker keeps pointers to tables until it is told. Freed pages are traps for it. */
static void the_walker_meets_no_freed_table(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct tdp_emu_exit ex;
	struct test_vm vm;

	vm_up(&vm, state, &opts);
	assert_int_equal(test_vm_slot(&vm, 0, 0, test_vm_size(&vm) / 2, 0, 0, NULL), TDP_OK);
	for (unsigned how = 0; how < 5; how++) {
		tdp_gpa_t gpa = TEST_PAGE * 3;
		uint64_t huge = (uint64_t)1 << huge_lg2(&vm);
		struct tdp_path path = {.size = (uint32_t)sizeof(path)};

		for (uint32_t cpu = 0; cpu < 2; cpu++)
			assert_int_equal(test_vm_touch(&vm, cpu, gpa, TDP_W), 0);
		assert_int_equal(tdp_split(vm.mm, 0, range_of(0, huge), TDP_PAGE_LG2), TDP_OK);
		for (uint32_t cpu = 0; cpu < 2; cpu++)
			assert_int_equal(test_vm_touch(&vm, cpu, gpa + TEST_PAGE, TDP_W), 0);
		if (how == 0) {
			assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), 0), TDP_OK);
		} else if (how == 1) {
			assert_int_equal(tdp_collapse(vm.mm, 0, everything(&vm), 0, NULL), TDP_OK);
		} else if (how == 2) {
			struct tdp_visit v[TDP_LEVELS_MAX];
			const struct tdp_visit *next = v;

			assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm), TDP_WALK_TABLE_PRE,
						  first_tables, &next),
					 TDP_EEXIST);
			assert_int_equal(tdp_zap_table(vm.mm, next[-1].pa), TDP_OK);
		} else if (how == 3) {
			for (uint64_t at = 0; at < huge; at += TEST_PAGE)
				assert_int_equal(tdp_zap(vm.mm, 0, range_of(at, TEST_PAGE), 0),
						 TDP_OK);
			assert_true(tdp_compact(vm.mm, 0, everything(&vm)) > 0);
		} else {
			assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
			assert_int_equal(tdp_vcpu_load(vm.cpu[0].vcpu), TDP_OK);
			assert_int_equal(tdp_vcpu_load(vm.cpu[1].vcpu), TDP_OK);
			assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
		}
		test_rcu_run();
		for (uint32_t cpu = 0; cpu < 2; cpu++)
			for (unsigned page = 0; page < 16; page++)
				assert_true(tdp_emu_access(vm.cpu[cpu].emu, page * TEST_PAGE, TDP_R,
							   &ex) != TDP_EMU_BUS_ERROR);
		assert_int_equal(test_vm_check(&vm), 0); /* no violation was told */
		assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), 0), TDP_OK);
	}
	vm_down(&vm);
}

static void zap_all_in_resolve(struct test_backing *b, tdp_gpa_t gpa)
{
	(void)gpa;
	run_aside(b->on_resolve_arg, zap_all_aside, NULL);
}

/* A fault that has looked its page up finds its table cut off: it goes into a new one. */
static void faults_do_not_fill_cut_off_tables(void **state)
{
	struct test_backing b;
	struct tdp_slot_desc desc;
	struct test_vm vm;
	uint32_t id;

	vm_up(&vm, state, NULL);
	assert_int_equal(test_backing_init(&b, &vm.env, 0, MIB, SLOT_PA, 0, TDP_PAGE_LG2), TDP_OK);
	desc = test_backing_slot(&b, 0, 0);
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), TDP_OK);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(test_vm_touch(&vm, 0, 0x1000, TDP_W), 0);
		b.on_resolve = zap_all_in_resolve;
		b.on_resolve_arg = &vm;
		assert_int_equal(fault(&vm, 0, 0x2000, TDP_W), TDP_FAULT_FIXED);
		b.on_resolve = NULL;
		assert_int_equal(translate(&vm, 0, 0x1000, NULL), TDP_ENOENT);
		assert_int_equal(translate(&vm, 0, 0x2000, NULL), TDP_OK);
		assert_int_equal(leaves_of(&vm), 1);
		assert_int_equal(test_vm_check(&vm), 0);
		test_rcu_run();
		assert_int_equal(test_vm_touch(&vm, 0, 0x2000, TDP_W), 0);
		assert_int_equal(tdp_zap(vm.mm, 0, range_of(0x2000, TEST_PAGE), 0), TDP_OK);
	}
	assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
	test_backing_fini(&b);
	vm_down(&vm);
}

static void empty_tables_are_compacted(void **state)
{
	struct test_vm vm;
	uint64_t size, tables, left;
	int freed;

	vm_up(&vm, state, NULL);
	size = test_vm_size(&vm);
	map_sparse(&vm);
	tables = tables_of(&vm);
	assert_int_equal(tdp_compact(vm.mm, 0, everything(&vm)), 0);
	for (unsigned i = 1; i < 16; i++) /* one page at a time: its tables stay */
		assert_int_equal(
			tdp_zap(vm.mm, 0, range_of(size / 16 * i + i * TEST_PAGE, TEST_PAGE), 0),
			TDP_OK);
	assert_int_equal(tables_of(&vm), tables);
	freed = tdp_compact(vm.mm, 0, everything(&vm));
	left = tables_of(&vm);
	assert_int_equal(freed, tables - left);
	assert_int_equal(left,
			 vm.info.root_pages + vm.info.levels - 1); /* the path to the page at 0 */
	assert_int_equal(translate(&vm, 0, 0, NULL), TDP_OK);
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(0, TEST_PAGE), 0), TDP_OK);
	assert_int_equal(tdp_compact(vm.mm, 0, everything(&vm)), vm.info.levels - 1);
	assert_int_equal(tables_of(&vm), vm.info.root_pages);
	vm_down(&vm);
}

/* ---- coming ---- */

static void a_topped_up_fault_allocates_nothing(void **state)
{
	struct test_vm_options opts = {.chunk_lg2 = TEST_CHUNK_SMALL};
	struct test_dump before, after;
	struct test_vm vm;

	vm_up(&vm, state, &opts);
	map_sparse(&vm);
	for (unsigned i = 0; i < 4; i++) {
		tdp_gpa_t gpa = test_vm_size(&vm) / 16 * 5 +
				test_vm_size(&vm) / 64 * (i + 1) % test_vm_size(&vm);

		assert_int_equal(tdp_vcpu_topup(vm.cpu[0].vcpu), TDP_OK);
		test_env_fail(&vm.env, 1);
		assert_int_equal(fault(&vm, 0, gpa, TDP_W), TDP_FAULT_FIXED);
		assert_int_equal(atomic_load(&vm.env.failed), 0);
		/* And without its tables it says so before anything has changed. */
		assert_int_equal(test_dump_take(&vm, 0, &before), TDP_OK);
		if (fault(&vm, 0, gpa + test_vm_size(&vm) / 128, TDP_W) == TDP_ENOMEM) {
			assert_true(atomic_load(&vm.env.failed) > 0);
			assert_int_equal(test_dump_take(&vm, 0, &after), TDP_OK);
			assert_int_equal(test_dump_diff(&before, &after, false), 0);
			test_dump_free(&after);
		}
		test_dump_free(&before);
		test_env_fail(&vm.env, 0);
		atomic_store(&vm.env.failed, 0);
	}
	vm_down(&vm);
}

static void any_host_memory_serves(void **state)
{
	static const struct test_vm_options hosts[] = {{.chunk_lg2 = 0},
						       {.env_flags = TEST_ENV_HOOKS},
						       {.chunk_lg2 = TEST_CHUNK_SMALL},
						       {.chunk_lg2 = 22}};
	struct test_dump first, dump;

	for (size_t h = 0; h < ARRAY_LEN(hosts); h++) {
		struct test_vm vm;

		vm_up(&vm, state, &hosts[h]);
		map_sparse(&vm);
		assert_int_equal(tdp_age(vm.mm, 0, range_of(0, test_vm_size(&vm) / 2), NULL), 1);
		assert_int_equal(test_dump_take(&vm, 0, h ? &dump : &first), TDP_OK);
		if (h) {
			assert_int_equal(test_dump_diff(&first, &dump, true), 0);
			test_dump_free(&dump);
		}
		vm_down(&vm);
	}
	test_dump_free(&first);
}

/*
 * The bound that a host can reserve from: with exactly that much, nothing runs out, wherever
 * it lies.
 */
static void the_worst_case_is_known(void **state)
{
	for (unsigned i = 0; i < 8; i++) {
		struct test_vm_options opts = {.chunk_lg2 = 0};
		uint64_t bytes = (i % 2 ? 5 * MIB : 3 * TEST_PAGE), bound;
		tdp_gpa_t gpa;
		struct test_vm vm;

		vm_up(&vm, state, NULL);
		bound = tdp_table_bytes_max(vm.mm, bytes);
		vm_down(&vm);
		opts.table_limit = bound;
		vm_up(&vm, state, &opts);
		/* Across the middle, where every level needs two; and shifted from there. */
		gpa = test_vm_size(&vm) / 2 - bytes / 2 / TEST_PAGE * TEST_PAGE +
		      (i / 2) * 7 * TEST_PAGE;
		assert_int_equal(
			test_vm_slot(&vm, 0, 0, test_vm_size(&vm), 0, TDP_SLOT_FORCE_4K, NULL),
			TDP_OK);
		assert_int_equal(tdp_populate(vm.mm, 0, range_of(gpa, bytes), 0, NULL), TDP_OK);
		assert_true(stats_of(&vm).table_bytes <= bound);
		vm_down(&vm);
	}
}

/* ---- content ---- */

static struct {
	void (*hook)(void *priv, void *va, uint64_t size, int in_use);
	uint64_t zero, other;
} scrub;

static void look_at_freed(void *priv, void *va, uint64_t size, int in_use)
{
	const uint64_t *word = va;
	bool zero = true;

	for (uint64_t i = 0; !in_use && i < size / sizeof(*word); i++)
		zero = zero && word[i] == 0;
	if (!in_use && zero)
		scrub.zero++;
	else if (!in_use)
		scrub.other++;
	scrub.hook(priv, va, size, in_use);
}

static void freed_tables_are_scrubbed_on_request(void **state)
{
	for (unsigned on = 0; on < 2; on++) {
		struct test_vm_options opts = {.mm_flags = on ? TDP_MM_SCRUB : 0};
		struct spy spy = {.table_state = look_at_freed};
		struct test_vm helper;

		vm_up(&helper, state, NULL);
		scrub.hook = helper.env.env.table_state;
		vm_down(&helper);
		scrub.zero = scrub.other = 0;
		spy_up(&spy, state, &opts);
		/* Leaves that stay in the tables that are cut off. */
		assert_int_equal(test_vm_slot(&spy.vm, 0, 0, test_vm_size(&spy.vm), 0,
					      TDP_SLOT_FORCE_4K, NULL),
				 TDP_OK);
		assert_int_equal(tdp_populate(spy.vm.mm, 0, range_of(0, RAM), 0, NULL), TDP_OK);
		assert_int_equal(tdp_zap(spy.vm.mm, 0, everything(&spy.vm), 0), TDP_OK);
		test_rcu_run();
		if (on) {
			assert_true(scrub.zero > 0);
			assert_int_equal(scrub.other, 0);
		} else {
			assert_true(scrub.other > 0);
		}
		vm_down(&spy.vm);
	}
}

#define SHADOWS 2048u

struct shadow {
	const void *page[SHADOWS];
	unsigned char copy[SHADOWS][4096];
	size_t count;
	bool full;
};

static unsigned char *shadow_of(struct shadow *s, const void *va)
{
	const void *page = (const void *)((uintptr_t)va & ~(uintptr_t)4095);

	for (size_t i = 0; i < s->count; i++)
		if (s->page[i] == page)
			return s->copy[i];
	if (s->count == SHADOWS) {
		s->full = true;
		return s->copy[0];
	}
	s->page[s->count] = page;
	return s->copy[s->count++];
}

/* What a walker that does not snoop would see. */
static void to_shadow(struct spy *spy, const void *va, uint64_t len)
{
	memcpy(shadow_of(spy->arg, va) + ((uintptr_t)va & 4095), va, (size_t)len);
}

struct compare {
	struct shadow *shadow;
	const struct tdp_mm *mm;
	uint64_t tables;
};

static uint64_t compared;

static int compare_table(void *arg, const struct tdp_visit *v)
{
	struct compare *c = arg;
	const void *table = tdpi_table_entries(c->mm, tdpi_table_at(c->mm, v->pa));
	size_t used = sizeof(uint64_t) << c->mm->index_lg2;

	c->tables++;
	return memcmp(table, shadow_of(c->shadow, table), used) ? TDP_EIO : 0;
}

static void compare_all(struct spy *spy)
{
	struct compare c = {spy->arg, spy->vm.mm, 0};
	const unsigned char *root = (const void *)tdpi_table_entries(c.mm, c.mm->roots->table);
	size_t used = sizeof(uint64_t) << c.mm->index_lg2;

	assert_int_equal(tdp_walk(spy->vm.mm, 0, everything(&spy->vm), TDP_WALK_TABLE_PRE,
				  compare_table, &c),
			 0);
	compared += c.tables;
	for (uint32_t page = 0; page < spy->vm.info.root_pages; page++)
		assert_memory_equal(root + page * 4096, shadow_of(spy->arg, root + page * 4096),
				    used);
	assert_false(c.shadow->full);
}

static void every_write_is_synced(void **state)
{
	struct spy spy = {.sync = true, .on_sync = to_shadow};
	struct test_vm *vm = &spy.vm;
	struct test_rand r;
	uint64_t half, bits[8];
	uint32_t id;

	compared = 0;
	spy.arg = calloc(1, sizeof(struct shadow));
	assert_non_null(spy.arg);
	spy_up(&spy, state, NULL);
	test_rand_init(&r, test_seed());
	half = test_vm_size(vm) / 2;
	assert_int_equal(test_vm_slot(vm, 0, 0, half - RAM, 0, 0, NULL), TDP_OK);
	assert_int_equal(test_vm_slot(vm, 0, half - RAM, RAM, half - RAM, 0, &id), TDP_OK);
	assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), TDP_OK);
	/* The walker itself stays out: the bits that it sets need no sync. */
	for (unsigned i = 0; i < 160; i++) {
		uint64_t huge = (uint64_t)1 << huge_lg2(vm);
		tdp_gpa_t gpa =
			(i % 3 ? test_below(&r, 4 * huge) : half - RAM + test_below(&r, RAM)) &
			~(TEST_PAGE - 1);
		struct tdp_range range = range_of(gpa & ~(huge - 1), huge);

		switch (i % 16) {
		case 3: assert_int_equal(tdp_split(vm->mm, 0, range, TDP_PAGE_LG2), TDP_OK); break;
		case 5: assert_int_equal(tdp_write_protect(vm->mm, 0, range), TDP_OK); break;
		case 6: assert_true(tdp_age(vm->mm, 0, range, NULL) >= 0); break;
		case 8:
			assert_int_equal(tdp_collapse(vm->mm, 0, everything(vm), 0, NULL), TDP_OK);
			break;
		case 9:
			assert_int_equal(tdp_zap(vm->mm, 0, range_of(gpa, TEST_PAGE), 0), TDP_OK);
			break;
		case 10:
			assert_true(fault(vm, 0, half + gpa % half, TDP_W) == TDP_FAULT_MMIO);
			break;
		case 11:
			assert_int_equal(tdp_dirty_log(vm->mm, id, TDP_LOG_AUTO), TDP_OK);
			assert_int_equal(tdp_dirty_harvest(vm->mm, id, 0, bits, 8), TDP_OK);
			assert_int_equal(tdp_dirty_log(vm->mm, id, TDP_LOG_OFF), TDP_OK);
			break;
		case 12:
			assert_int_equal(tdp_zap(vm->mm, 0, range, TDP_ZAP_KEEP_YOUNG), TDP_OK);
			break;
		case 13:
			assert_int_equal(
				tdp_write_track(vm->mm, 0, range_of(half - RAM, TEST_PAGE), true),
				TDP_OK);
			assert_int_equal(
				tdp_write_track(vm->mm, 0, range_of(half - RAM, TEST_PAGE), false),
				TDP_OK);
			break;
		default: assert_true(fault(vm, 0, gpa, i & 1 ? TDP_W : TDP_R) >= 0);
		}
		compare_all(&spy);
		test_rcu_run();
	}
	assert_true(compared > 100);
	free(spy.arg);
	spy.on_sync = NULL;
	vm_down(vm);
}

/* ---- read-side sections ---- */

static struct {
	void *(*hook)(void *priv, tdp_pa_t pa);
	uint64_t inside, outside;
} steps;

/* Each step from a table to the next asks the host for an address. */
static void *step(void *priv, tdp_pa_t pa)
{
	if (test_rcu_in_section())
		steps.inside++;
	else
		steps.outside++;
	return steps.hook(priv, pa);
}

static void walks_stay_in_sections(void **state)
{
	struct test_vm_options opts = {.env_flags = TEST_ENV_HOOKS};
	struct spy spy = {.phys_to_virt = step};
	struct test_vm *vm = &spy.vm, helper;
	struct tdp_report report = {.size = (uint32_t)sizeof(report)};
	struct tdp_path path = {.size = (uint32_t)sizeof(path)};
	uint64_t bits[8];
	char text[400];
	uint32_t id;

	vm_up(&helper, state, &opts);
	steps.hook = helper.env.env.phys_to_virt;
	vm_down(&helper);
	steps.inside = steps.outside = 0;
	spy_up(&spy, state, &opts);
	map_sparse(vm);
	test_env_yield(&vm->env, TEST_YIELD_NTH, 3);
	assert_int_equal(tdp_slot_remove(vm->mm, 0), TDP_OK);
	assert_int_equal(test_vm_slot(vm, 0, 0, test_vm_size(vm) / 2, 0, 0, NULL), TDP_OK);
	assert_int_equal(test_vm_slot(vm, 0, test_vm_size(vm) / 2, RAM, 0, 0, &id), TDP_OK);
	assert_int_equal(test_vm_touch(vm, 0, 0, TDP_W), 0);
	assert_int_equal(test_vm_touch(vm, 0, test_vm_size(vm) / 2, TDP_W), 0);
	assert_true(tdp_age(vm->mm, 0, everything(vm), NULL) >= 0);
	assert_int_equal(tdp_split(vm->mm, 0, everything(vm), TDP_PAGE_LG2), TDP_OK);
	assert_int_equal(tdp_write_protect(vm->mm, 0, everything(vm)), TDP_OK);
	assert_int_equal(tdp_collapse(vm->mm, 0, everything(vm), 0, NULL), TDP_OK);
	assert_int_equal(tdp_dirty_log(vm->mm, id, TDP_LOG_AUTO), TDP_OK);
	assert_int_equal(tdp_dirty_harvest(vm->mm, id, 0, bits, 8), TDP_OK);
	assert_int_equal(tdp_walk_gpa(vm->mm, 0, 0, &path), TDP_OK);
	assert_true(tdp_explain(vm->mm, 0, 0, text, sizeof(text)) > 0);
	assert_int_equal(tdp_verify(vm->mm, &report), TDP_OK);
	assert_true(tdp_compact(vm->mm, 0, everything(vm)) >= 0);
	assert_int_equal(tdp_zap(vm->mm, 0, everything(vm), 0), TDP_OK);
	assert_int_equal(test_vm_touch(vm, 0, 0, TDP_W), 0);
	assert_int_equal(tdp_roots_invalidate(vm->mm), TDP_OK);
	assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), TDP_OK);
	assert_int_equal(tdp_roots_reclaim(vm->mm, 0), 0);
	test_env_yield(&vm->env, TEST_YIELD_NEVER, 0);
	assert_true(steps.inside > 20);
	assert_int_equal(steps.outside, 0);
	vm_down(vm);
}

/* ---- a host whose read-side sections are none ---- */

static bool denied;

static int maybe_ongoing(void)
{
	return !denied && test_rcu.read_ongoing();
}

static int age_all(struct test_vm *vm)
{
	return tdp_age(vm->mm, 0, everything(vm), NULL);
}

static int protect_a_page(struct test_vm *vm)
{
	return tdp_write_protect(vm->mm, 0, range_of(0, TEST_PAGE));
}

static int fault_once(struct test_vm *vm)
{
	return fault(vm, 0, TEST_PAGE, TDP_R);
}

/* In a process of its own, as it would be: did an assertion stop fn? */
static bool stopped(struct test_vm *vm, int (*fn)(struct test_vm *vm), bool deny)
{
	pid_t pid = fork();
	int status = 0;

	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGILL, SIG_DFL);
		signal(SIGTRAP, SIG_DFL);
		prctl(PR_SET_DUMPABLE, 0);
		denied = deny;
		_exit(fn(vm) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		assert_int_equal(WEXITSTATUS(status), 0);
	else
		assert_true(WTERMSIG(status) == SIGILL || WTERMSIG(status) == SIGTRAP);
	return WIFSIGNALED(status);
}

/* With the library's assertions on no walk starts outside of a section, by the host's own word. */
static void walks_ask_for_their_section(void **state)
{
	static int (*const walks[])(struct test_vm * vm) = {age_all, protect_a_page, fault_once};
	struct tdp_rcu_ops rcu = test_rcu;
	struct spy spy = {.rcu = &rcu};
	struct test_vm *vm = &spy.vm;

	rcu.read_ongoing = maybe_ongoing;
	spy_up(&spy, state, NULL);
	assert_int_equal(test_vm_slot(vm, 0, 0, RAM, 0, TDP_SLOT_FORCE_4K, NULL), TDP_OK);
	assert_int_equal(test_vm_touch(vm, 0, 0, TDP_R), 0);
	for (size_t i = 0; i < ARRAY_LEN(walks); i++) {
		assert_false(stopped(vm, walks[i], false));
		assert_int_equal(stopped(vm, walks[i], true), TDP_DEBUG >= 1);
	}
	vm_down(vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(cut_off_tables_come_back),
		TEST_CASE(tables_wait_for_readers),
		TEST_CASE(the_walker_meets_no_freed_table),
		TEST_CASE(faults_do_not_fill_cut_off_tables),
		TEST_CASE(empty_tables_are_compacted),
		TEST_CASE(a_topped_up_fault_allocates_nothing),
		TEST_CASE(any_host_memory_serves),
		TEST_CASE(the_worst_case_is_known),
		TEST_CASE(freed_tables_are_scrubbed_on_request),
		TEST_CASE(every_write_is_synced),
		TEST_CASE(walks_stay_in_sections),
		TEST_CASE(walks_ask_for_their_section),
	};

	return test_run("tables", cases, ARRAY_LEN(cases));
}

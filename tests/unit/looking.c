/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the library says about itself: statistics, dump, explain, verify, the bugged state, status
 * texts, memory.
 */
#include "steps.h"

#include "base/assert.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define GPA GIB

/* ---- statistics ------------------------------------------------------------------------------ */

/* W02: each counter moves by what happened. */
static void statistics(void **state)
{
	struct test_backing mem;
	struct tdp_stats a, b;
	struct test_vm vm;
	uint32_t id;

	vm_up(&vm, state, NULL);
	id = add_backing(&vm, &mem, 2 * GPA, 8 * TEST_PAGE, TDP_RWX, 12);
	add_slot(&vm, 0, GPA, 2 * block_of(&vm), SLOT_PA, 0);
	a = stats_of(&vm);
	assert_int_equal(a.roots_valid + a.roots_invalid + leaves_of(&vm) + a.table_bytes, 0);
	load(&vm, 0);
	b = stats_of(&vm);
	assert_int_equal(b.root_creates - a.root_creates, 1);
	assert_int_equal(b.roots_valid, 1);
	assert_int_equal(b.flush_cause[TDP_FLUSH_ROOT] - a.flush_cause[TDP_FLUSH_ROOT], 1);
	a = b;
	for (uint64_t i = 0; i < 8; i++)
		use(&vm, 0, 2 * GPA + i * TEST_PAGE, TDP_W);
	b = stats_of(&vm);
	assert_int_equal(b.resolves - a.resolves, 8);
	assert_int_equal(b.faults[TDP_FAULT_FIXED] - a.faults[TDP_FAULT_FIXED], 8);
	assert_int_equal(b.leaves[0] - a.leaves[0], 8);
	a = b;
	use(&vm, 0, GPA, TDP_W);
	assert_int_equal(tdp_split(vm.mm, 0, range_of(GPA, TEST_PAGE), 12), TDP_OK);
	assert_int_equal(tdp_write_protect(vm.mm, 0, range_of(2 * GPA, 2 * TEST_PAGE)), TDP_OK);
	use(&vm, 0, 2 * GPA, TDP_W);
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(2 * GPA, TEST_PAGE), 0), TDP_OK);
	b = stats_of(&vm);
	assert_int_equal(b.splits - a.splits, 1);
	assert_int_equal(b.fault_fast - a.fault_fast, 1);
	assert_int_equal(b.resolves, a.resolves);
	assert_int_equal(b.flush_cause[TDP_FLUSH_PERMISSION] - a.flush_cause[TDP_FLUSH_PERMISSION],
			 1);
	assert_int_equal(b.flush_cause[TDP_FLUSH_ZAP] - a.flush_cause[TDP_FLUSH_ZAP], 1);
	assert_int_equal(b.leaves[0] - a.leaves[0], block_of(&vm) / TEST_PAGE - 1);
	assert_int_equal(b.leaves[1], a.leaves[1]);
	assert_int_equal(b.flush_range + b.flush_all, broadcasts_of(&vm));
	/* A vCPU takes nothing along when it goes. */
	tdp_vcpu_destroy(vm.cpu[0].vcpu);
	a = stats_of(&vm);
	assert_memory_equal(a.faults, b.faults, sizeof(a.faults));
	assert_int_equal(tdp_vcpu_create(vm.mm, vm.cpu[0].emu, &vm.cpu[0].vcpu), TDP_OK);
	assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
	test_backing_fini(&mem);
	vm_down(&vm);
}

#define WHY(cause) (1u << TDP_FLUSH_##cause)

/* Since *before, which is renewed: `flushes` of them, all asked for by op, and exactly these reasons. */
static void flushed_for(struct test_vm *vm, struct tdp_stats *before, uint64_t flushes,
			enum tdp_op op, uint32_t reasons)
{
	struct tdp_stats now = stats_of(vm);
	uint32_t moved = 0;

	for (unsigned i = 0; i < TDP_FLUSH_CAUSES; i++)
		if (now.flush_cause[i] != before->flush_cause[i])
			moved |= 1u << i;
	assert_int_equal(moved, reasons);
	for (uint32_t i = 0; i < TDP_OPS; i++)
		assert_int_equal(now.flush_op[i] - before->flush_op[i], i == op ? flushes : 0);
	assert_int_equal(now.flush_range + now.flush_all + now.flush_vcpu -
				 (before->flush_range + before->flush_all + before->flush_vcpu),
			 flushes);
	*before = now;
}

/* Y05: every flush is counted with its reasons; there is none without. */
static void each_flush_says_why(void **state)
{
	struct test_vm_options opts = {.mm_flags = TDP_MM_FLUSH_ON_AGE,
				       .without_caps = TDP_CAP_FAULT_INVALIDATES};
	struct tdp_range page = range_of(GPA, TEST_PAGE), block;
	struct tdp_stats s;
	struct test_vm vm;
	uint64_t bits = 0;
	bool breaks;
	uint32_t id;

	vm_up(&vm, state, &opts);
	breaks = vm.fmt->format == TDP_FMT_S2_4K || vm.fmt->format == TDP_FMT_TEST;
	block = range_of(GPA, block_of(&vm));
	s = stats_of(&vm);
	id = add_slot(&vm, 0, GPA, 2 * block.size, SLOT_PA, 0);
	flushed_for(&vm, &s, 0, TDP_OP_SLOT, 0);
	load(&vm, 0);
	flushed_for(&vm, &s, 1, TDP_OP_LOAD, WHY(ROOT));
	use(&vm, 0, GPA, TDP_W);
	flushed_for(&vm, &s, 0, TDP_OP_FAULT, 0);
	assert_int_equal(tdp_split(vm.mm, 0, page, TDP_PAGE_LG2), TDP_OK);
	flushed_for(&vm, &s, breaks, TDP_OP_SPLIT, breaks ? WHY(BREAK) : 0);
	assert_int_equal(tdp_write_protect(vm.mm, 0, page), TDP_OK);
	flushed_for(&vm, &s, 1, TDP_OP_WRITE_PROTECT, WHY(PERMISSION));
	use(&vm, 0, GPA, TDP_R); /* it has the page without W from now on */
	s = stats_of(&vm);
	use(&vm, 0, GPA, TDP_W);
	flushed_for(&vm, &s, 1, TDP_OP_FAULT, WHY(LOCAL));
	assert_int_equal(tdp_age(vm.mm, 0, page, NULL), 1);
	flushed_for(&vm, &s, 1, TDP_OP_AGE, WHY(AGE));
	use(&vm, 0, GPA, TDP_W);
	if (vm.info.ad & 2) {
		assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_DBIT), TDP_OK);
		use(&vm, 0, GPA, TDP_W);
		s = stats_of(&vm);
		assert_int_equal(tdp_dirty_harvest(vm.mm, id, 0, &bits, 1), TDP_OK);
		assert_int_equal(bits & 1, 1);
		flushed_for(&vm, &s, 1, TDP_OP_DIRTY_HARVEST, WHY(DIRTY));
		assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_OFF), TDP_OK);
	}
	s = stats_of(&vm);
	assert_int_equal(tdp_zap(vm.mm, 0, page, 0), TDP_OK);
	flushed_for(&vm, &s, 1, TDP_OP_ZAP, WHY(ZAP));
	assert_int_equal(tdp_zap(vm.mm, 0, page, 0), TDP_OK); /* nothing is there */
	flushed_for(&vm, &s, 0, TDP_OP_ZAP, 0);
	assert_int_equal(tdp_zap(vm.mm, 0, block, 0), TDP_OK);
	flushed_for(&vm, &s, 1, TDP_OP_ZAP, WHY(TABLE));
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	flushed_for(&vm, &s, 1, TDP_OP_ROOTS, WHY(ROOT));
	vm_down(&vm);
}

/*
 * W10: bytes of tables are the pages that are in use, and never more than promised for the memory.
 */
static void table_memory(void **state)
{
	struct test_vm vm;
	struct tdp_stats stats;
	uint64_t pages;

	vm_up(&vm, state, NULL);
	pages = 3 * block_of(&vm) / TEST_PAGE + 5;
	add_slot(&vm, 0, GPA - 3 * TEST_PAGE, pages * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	assert_int_equal(
		tdp_populate(vm.mm, 0, range_of(GPA - 3 * TEST_PAGE, pages * TEST_PAGE), 0, NULL),
		TDP_OK);
	stats = stats_of(&vm);
	assert_int_equal(stats.table_bytes, atomic_load(&vm.env.table_pages) * TEST_PAGE);
	assert_int_equal(stats.chunk_bytes, atomic_load(&vm.env.chunk_bytes));
	assert_int_equal(stats.table_bytes, tables_of(&vm) * TEST_PAGE);
	assert_int_equal(stats.tables[vm.info.levels - 1], vm.info.root_pages);
	assert_int_equal(stats.tables[0], 5);
	assert_true(stats.table_bytes <= tdp_table_bytes_max(vm.mm, pages * TEST_PAGE));
	assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), 0), TDP_OK);
	test_rcu_run();
	assert_int_equal(stats_of(&vm).table_bytes, (uint64_t)vm.info.root_pages * TEST_PAGE);
	vm_down(&vm);
}

/* ---- text ------------------------------------------------------------------------------------ */

struct lines {
	unsigned count;
	char line[8][160];
	int stop;
};

static int note_line(void *arg, const char *line)
{
	struct lines *l = arg;

	assert_true(l->count < ARRAY_LEN(l->line));
	snprintf(l->line[l->count++], sizeof(l->line[0]), "%s", line);
	return l->stop;
}

/* W03: a line for each run of leaves that go on in every respect. */
static void dump_joins_runs(void **state)
{
	struct test_vm vm;
	struct lines l;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, 64 * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	assert_int_equal(
		tdp_populate(vm.mm, 0, range_of(GPA, 32 * TEST_PAGE), TDP_POPULATE_YOUNG, NULL),
		TDP_OK);
	assert_int_equal(tdp_write_protect(vm.mm, 0, range_of(GPA + 8 * TEST_PAGE, 8 * TEST_PAGE)),
			 TDP_OK);
	use(&vm, 0, GPA + 40 * TEST_PAGE, TDP_W);
	memset(&l, 0, sizeof(l));
	assert_int_equal(tdp_dump(vm.mm, 0, everything(&vm), note_line, &l), TDP_OK);
	assert_int_equal(l.count, 4);
	assert_string_equal(l.line[0], "0x40000000-0x40008000 -> 0x10000000000 8 x 4K rwx wb AD");
	assert_string_equal(l.line[1], "0x40008000-0x40010000 -> 0x10000008000 8 x 4K r-x wb A-");
	assert_string_equal(l.line[2], "0x40010000-0x40020000 -> 0x10000010000 16 x 4K rwx wb AD");
	assert_string_equal(l.line[3], "0x40028000-0x40029000 -> 0x10000028000 1 x 4K rwx wb AD");
	/* Memory that goes on, with another software bit. */
	assert_int_equal(try_slot(&vm, GPA + 64 * TEST_PAGE, TEST_PAGE, SLOT_PA + 64 * TEST_PAGE,
				  TDP_RWX | TDP_SW(1), NULL),
			 TDP_OK);
	use(&vm, 0, GPA + 63 * TEST_PAGE, TDP_W);
	use(&vm, 0, GPA + 64 * TEST_PAGE, TDP_W);
	memset(&l, 0, sizeof(l));
	assert_int_equal(tdp_dump(vm.mm, 0, everything(&vm), note_line, &l), TDP_OK);
	assert_int_equal(l.count, 6);
	assert_string_equal(l.line[5],
			    "0x40040000-0x40041000 -> 0x10000040000 1 x 4K rwx wb sw=2 AD");
	memset(&l, 0, sizeof(l));
	l.stop = TDP_EBUSY;
	assert_int_equal(tdp_dump(vm.mm, 0, everything(&vm), note_line, &l), TDP_EBUSY);
	assert_int_equal(l.count, 1);
	vm_down(&vm);
}

static void explains(struct test_vm *vm, tdp_gpa_t gpa, const char *what)
{
	char text[1024], small[24];
	int length = tdp_explain(vm->mm, 0, gpa, text, sizeof(text));

	assert_in_range(length, 1, sizeof(text) - 1);
	assert_int_equal(strlen(text), length);
	if (!strstr(text, what))
		fail_msg("no \"%s\" in:\n%s", what, text);
	/* Cut short it is terminated and says how long it would have been. */
	memset(small, 0x5a, sizeof(small));
	assert_int_equal(tdp_explain(vm->mm, 0, gpa, small, 16), length);
	assert_int_equal(small[15], 0);
	assert_int_equal(small[16], 0x5a);
	assert_memory_equal(small, text, 15);
	assert_int_equal(tdp_explain(vm->mm, 0, gpa, NULL, 0), length);
}

/* W04: every level on the way, the slot, and why it is not writable. */
static void explain_why(void **state)
{
	struct test_vm vm;
	struct tdp_range page = range_of(GPA, TEST_PAGE);
	char level[24];
	uint32_t id;

	vm_up(&vm, state, NULL);
	explains(&vm, GPA, "no root");
	id = add_slot(&vm, 0, GPA, 2 * TEST_PAGE, SLOT_PA, 0);
	load(&vm, 0);
	explains(&vm, GPA, "not mapped");
	use(&vm, 0, GPA, TDP_W);
	for (uint32_t i = 0; i < vm.info.levels; i++) {
		snprintf(level, sizeof(level), "level %u: ", i);
		explains(&vm, GPA, level);
	}
	explains(&vm, GPA, "leaf");
	explains(&vm, GPA, "linear");
	explains(&vm, GPA, "rwx wb");
	explains(&vm, GPA, "0x10000000000");
	explains(&vm, GPA, "accessed, dirty");
	assert_int_equal(tdp_write_protect(vm.mm, 0, page), TDP_OK);
	explains(&vm, GPA, "the next write fault grants it");
	assert_int_equal(tdp_write_track(vm.mm, 0, page, true), TDP_OK);
	explains(&vm, GPA, "not writable: writes are tracked");
	explains(&vm, GPA, "writes to this page are tracked");
	assert_int_equal(tdp_write_track(vm.mm, 0, page, false), TDP_OK);
	assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_WRPROT), TDP_OK);
	explains(&vm, GPA, "logged by write protection");
	assert_int_equal(tdp_slot_set_flags(vm.mm, id, TDP_SLOT_READONLY), TDP_OK);
	use(&vm, 0, GPA, TDP_R);
	explains(&vm, GPA, "not writable: the backing or the slot is read-only");
	stopped(&vm, 0, GPA + 4 * TEST_PAGE, TDP_R, TDP_FAULT_MMIO);
	explains(&vm, GPA + 4 * TEST_PAGE, "no slot");
	explains(&vm, GPA + 4 * TEST_PAGE, "mmio");
	if (tracks_access(vm.fmt)) {
		assert_int_equal(tdp_age(vm.mm, 0, page, NULL), 1);
		explains(&vm, GPA, "the next access faults");
	}
	vm_down(&vm);
}

/* W08: each status has one name and one text of its own; anything else is told as unknown. */
static void status_texts(void **state)
{
	static const int all[] = {
#define X(name, number, text) TDP_##name,
		TDP_STATUS_LIST(X)
#undef X
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		assert_int_equal(strncmp(tdp_status_name(all[i]), "TDP_", 4), 0);
		assert_true(strlen(tdp_strerror(all[i])) > 5);
		for (size_t k = 0; k < i; k++) {
			assert_string_not_equal(tdp_status_name(all[i]), tdp_status_name(all[k]));
			assert_string_not_equal(tdp_strerror(all[i]), tdp_strerror(all[k]));
		}
	}
	assert_string_equal(tdp_status_name(TDP_ENOMEM), "TDP_ENOMEM");
	assert_string_equal(tdp_status_name(-1000), "TDP_?");
	assert_non_null(tdp_strerror(-1000));
	assert_string_equal(tdp_status_name(TDP_FAULT_TRACKED), "TDP_?");
}

/* ---- verify ---------------------------------------------------------------------------------- */

struct table_at {
	tdp_pa_t pa[TDP_LEVELS_MAX]; /* by level */
};

static int note_table(void *arg, const struct tdp_visit *v)
{
	struct table_at *t = arg;

	t->pa[v->level - 1] = v->pa;
	return 0;
}

static uint64_t *entry_at(struct test_vm *vm, const struct table_at *t, uint64_t index)
{
	return (uint64_t *)test_env_mem(&vm->env, t->pa[0]) + index;
}

static void finds(struct test_vm *vm, const char *what)
{
	struct tdp_report report = {.size = (uint32_t)sizeof(report)};

	assert_int_equal(tdp_verify(vm->mm, &report), TDP_EIO);
	assert_true(report.errors >= 1);
	if (!strstr(report.first, what))
		fail_msg("no \"%s\" in: %.127s", what, report.first);
}

/* W06, E17: what another hand does to an entry is found, word by word. */
static void verify_finds_damage(void **state)
{
	struct tdp_report report = {.size = (uint32_t)sizeof(report)};
	struct test_vm vm;
	struct table_at t;
	uint64_t *e, was, empty, found = 0;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, 8 * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	use(&vm, 0, GPA, TDP_W);
	use(&vm, 0, GPA + TEST_PAGE, TDP_R);
	assert_int_equal(tdp_verify(vm.mm, &report), TDP_OK);
	assert_int_equal(report.leaves[0], 2);
	assert_int_equal(report.roots, 1);
	memset(&t, 0, sizeof(t));
	assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm), TDP_WALK_TABLE_PRE, note_table, &t),
			 TDP_OK);
	e = entry_at(&vm, &t, 0);
	was = *e;
	empty = *entry_at(&vm, &t, 5);
	*e = empty;
	finds(&vm, "the number of entries in use differs");
	*e = was;
	*entry_at(&vm, &t, 5) = was;
	finds(&vm, "the number of entries in use differs");
	*entry_at(&vm, &t, 5) = empty;
	/*
	 * Each bit of a leaf: most have a rule that says they cannot be so; the walker may not
	 * fall over one.
	 */
	for (unsigned bit = 0; bit < 64; bit++) {
		*e = was ^ (uint64_t)1 << bit;
		found += tdp_verify(vm.mm, &report) == TDP_EIO;
		assert_true(report.errors == 0 || report.first[0]);
	}
	assert_true(found >= 4);
	*e = was;
	assert_int_equal(tdp_verify(vm.mm, &report), TDP_OK);
	assert_int_equal(report.errors, 0);
	vm_down(&vm);
}

/* ---- when it is the library's or the caller's fault ------------------------------------------ */

/*
 * W07, W09: an mm that is broken says so, once, and refuses; another one goes on; the process as
 * well.
 */
static void bugged_is_one_mm(void **state)
{
	struct test_vm_options opts = {.env_flags = TEST_ENV_QUIET};
	struct tdp_mm_info info = {.size = (uint32_t)sizeof(info)};
	struct tdp_root *root;
	struct test_vm vm;
	struct tdp_mm *other;

	vm_up(&vm, state, &opts);
	add_slot(&vm, 0, GPA, TEST_PAGE, SLOT_PA, 0);
	use(&vm, 0, GPA, TDP_W);
	assert_int_equal(tdp_mm_create(&vm.cfg, &other), TDP_OK);
	assert_int_equal(tdp_root_get(vm.mm, tdp_role_root(vm.mm, 0), &root), TDP_OK);
	assert_int_equal(tdp_root_put(vm.mm, root), 0);
	assert_int_equal(atomic_load(&vm.env.bug_logs), 0);
	assert_int_equal(tdp_root_put(vm.mm, root), TDP_EIO);
	assert_int_equal(atomic_load(&vm.env.bug_logs), 1);
	assert_non_null(strstr(vm.env.last_log, "root"));
	assert_int_equal(tdp_mm_info(vm.mm, &info), TDP_OK);
	assert_int_equal(info.bugged, 1);
	assert_int_equal(fault(&vm, 0, GPA, TDP_R), TDP_EIO);
	assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), 0), TDP_EIO);
	assert_int_equal(tdp_vcpu_load(vm.cpu[0].vcpu), TDP_EIO);
	assert_int_equal(tdp_root_put(vm.mm, root), TDP_EIO);
	assert_int_equal(translate(&vm, 0, GPA, NULL), TDP_EIO);
	assert_int_equal(atomic_load(&vm.env.bug_logs), 1);
	assert_int_equal(tdp_mm_info(other, &info), TDP_OK);
	assert_int_equal(info.bugged, 0);
	assert_int_equal(tdp_zap(other, 0, everything(&vm), 0), TDP_OK);
	assert_int_equal(tdp_mm_destroy(other), TDP_OK);
	/* It can still be destroyed, and leaves nothing behind: the one violation is that line. */
	assert_int_equal(test_vm_fini(&vm), 1);
}

#undef TDPI_BASE_ASSERT_H
#undef TDP_DEBUG
#define TDP_DEBUG 0
#undef TDPI_ASSERT
#undef TDPI_ASSERT_DEBUG
#undef TDPI_STATIC_ASSERT
#undef TDPI_ASSERT_OFF
#undef TDPI_ASSERT_ON
#include "base/assert.h"

static int asked;

static bool ask(bool answer)
{
	asked++;
	return answer;
}

static void asserts_off(void)
{
	TDPI_ASSERT(ask(false));
	TDPI_ASSERT_DEBUG(ask(false));
}

#undef TDPI_BASE_ASSERT_H
#undef TDP_DEBUG
#define TDP_DEBUG 1
#undef TDPI_ASSERT
#undef TDPI_ASSERT_DEBUG
#undef TDPI_STATIC_ASSERT
#undef TDPI_ASSERT_OFF
#undef TDPI_ASSERT_ON
#include "base/assert.h"

static void asserts_first_tier(bool hold)
{
	TDPI_ASSERT_DEBUG(ask(false)); /* the second tier: still off */
	TDPI_ASSERT(ask(hold));
}

/* W05: switched off an assertion asks nothing; switched on it traps, in its tier. */
static void assertions_by_tier(void **state)
{
	int status = 0;
	pid_t pid;

	(void)state;
	asked = 0;
	asserts_off();
	assert_int_equal(asked, 0);
	asserts_first_tier(true);
	assert_int_equal(asked, 1);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		for (int sig = 1; sig < 32; sig++)
			signal(sig, SIG_DFL);
		asserts_first_tier(false);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static bool only_one(const struct test_format *fmt)
{
	return fmt == &test_formats[0];
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(statistics),
		TEST_CASE(each_flush_says_why),
		TEST_CASE(table_memory),
		TEST_CASE(dump_joins_runs),
		TEST_CASE(explain_why),
		TEST_CASE_IF(status_texts, only_one),
		TEST_CASE(verify_finds_damage),
		TEST_CASE(bugged_is_one_mm),
		TEST_CASE_IF(assertions_by_tier, only_one),
	};

	return test_run("looking", cases, ARRAY_LEN(cases));
}

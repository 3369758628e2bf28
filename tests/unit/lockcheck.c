/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lock checker of debug builds: each breach of lib/LOCKING.md, provoked in a process of its own, says what
 * it is and traps there; everything that the rules permit goes through.
 */
#include "machine.h"

#include "mm/range.h"
#include "mm/slot.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* A way of tables (level 2, 1, 0), and tables beside the lower two. */
struct scene {
	struct test_vm vm;
	struct tdp_mm *mm;
	struct tdpi_table *top, *parent, *child, *uncle, *sibling;
	uint32_t gate; /* a word for the class: no gate is needed */
	void (*leak)(struct scene *s);
	bool leaked;
};

static struct scene scene;
static char *said; /* the latest line of the library's log, shared with children */

#define SAID_SIZE 4096u

/* ---- the stage ---- */

static void note_line(void *priv, int level, const char *line)
{
	(void)priv;
	if (level == TDP_LOG_BUG)
		snprintf(said, SAID_SIZE, "%s", line);
}

/* What a test has put there happens once, in the middle of whatever the library does. */
static void leak_once(void)
{
	void (*leak)(struct scene * s) = scene.leak;

	scene.leak = NULL;
	if (!leak)
		return;
	scene.leaked = true;
	leak(&scene);
}

static void (*count_table)(void *priv, void *va, uint64_t size, int in_use);

static void leaky_table_state(void *priv, void *va, uint64_t size, int in_use)
{
	count_table(priv, va, size, in_use);
	leak_once();
}

static int leaky_should_yield(void *priv)
{
	(void)priv;
	leak_once();
	return scene.leaked;
}

static void stage_host(struct tdp_env *env)
{
	env->log = note_line;
	count_table = env->table_state;
	env->table_state = leaky_table_state;
	env->should_yield = leaky_should_yield;
}

static struct tdpi_table *table_at(const struct test_dump *dump, tdp_gpa_t gpa, uint32_t level)
{
	for (size_t i = 0; i < dump->count; i++) {
		const struct tdp_visit *v = &dump->visits[i];

		if (v->kind == TDP_ENTRY_TABLE && v->level == level + 1 && v->gpa == gpa)
			return tdpi_table_at(scene.mm, v->pa);
	}
	return NULL;
}

static void stage_up(void **state)
{
	struct test_vm_options opts = {.host = stage_host};
	struct test_dump dump;
	struct test_vm *vm = &scene.vm;
	uint64_t low, high;

	memset(&scene, 0, sizeof(scene));
	said = mmap(NULL, SAID_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(said != MAP_FAILED);
	vm_up(vm, state, &opts);
	scene.mm = vm->mm;
	low = (uint64_t)1 << test_vm_lg2(vm, 1);
	high = (uint64_t)1 << test_vm_lg2(vm, 2);
	assert_int_equal(test_vm_slot(vm, 0, 0, test_vm_size(vm), 0, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	assert_int_equal(test_vm_touch(vm, 0, 0, TDP_R), 0);
	assert_int_equal(test_vm_touch(vm, 0, low, TDP_R), 0);
	assert_int_equal(test_vm_touch(vm, 0, high, TDP_R), 0);
	assert_int_equal(test_dump_take(vm, 0, &dump), TDP_OK);
	scene.top = table_at(&dump, 0, 2);
	scene.parent = table_at(&dump, 0, 1);
	scene.child = table_at(&dump, 0, 0);
	scene.sibling = table_at(&dump, low, 0);
	scene.uncle = table_at(&dump, high, 1);
	assert_true(scene.top && scene.parent && scene.child && scene.sibling && scene.uncle);
	test_dump_free(&dump);
}

static void stage_down(void)
{
	vm_down(&scene.vm);
	munmap(said, SAID_SIZE);
}

/* fn in a process of its own: did it stop there? What it said is in `said`. */
static bool stopped(void (*fn)(struct scene *s))
{
	int status = 0;
	pid_t pid;

	said[0] = 0;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGILL, SIG_DFL);
		signal(SIGTRAP, SIG_DFL);
		prctl(PR_SET_DUMPABLE, 0);
		fn(&scene);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		assert_int_equal(WEXITSTATUS(status), 0);
	else
		assert_true(WTERMSIG(status) == SIGILL || WTERMSIG(status) == SIGTRAP);
	return WIFSIGNALED(status);
}

static void refused(void (*fn)(struct scene *s), const char *why)
{
	char line[160];

	snprintf(line, sizeof(line), "against lib/LOCKING.md: %s", why);
	assert_true(stopped(fn));
	assert_string_equal(said, line);
}

static void permitted(void (*fn)(struct scene *s))
{
	bool stop = stopped(fn);

	assert_string_equal(said, "");
	assert_false(stop);
}

static void take(struct scene *s, struct tdpi_table *t)
{
	tdpi_lock(&s->mm->env, &t->lock, TDPI_LOCK_TABLE);
}

static void drop(struct scene *s, struct tdpi_table *t)
{
	tdpi_unlock(&s->mm->env, &t->lock);
}

/* ---- order: every class under every other ---- */

#define CLASSES 10u

/* In the order of enum tdpi_locking; the letters are used below. */
static const char letters[CLASSES + 1] = "TSrRPQVIGK";
static const char *const names[CLASSES] = {
	"table (level 1)", "slots_lock", "reload_lock", "roots_lock", "pool_lock",
	"retire_lock",     "vcpus_lock", "inv.lock",    "gate.lock",  "ticket",
};
/* What LOCKING.md lets be held when the class is taken. */
static const char *const under[CLASSES] = {
	"TSK", "", "S", "SrK", "SK", "SK", "S", "", "TSrK", "S",
};

static unsigned held_class, taken_class;

static uint32_t *word_of(struct scene *s, unsigned class, struct tdpi_table *t)
{
	uint32_t *words[CLASSES] = {
		&t->lock,          &s->mm->slots_lock,      &s->mm->reload_lock, &s->mm->roots_lock,
		&s->mm->pool_lock, &s->mm->retire_lock,     &s->mm->vcpus_lock,  &s->mm->inv.lock,
		&s->gate,          &s->mm->tickets[0].busy,
	};

	return words[class];
}

static void take_class(struct scene *s, unsigned class, struct tdpi_table *t)
{
	if (class == TDPI_LOCK_TABLE)
		tdpi_rcu_lock(s->mm);
	tdpi_lock(&s->mm->env, word_of(s, class, t), (enum tdpi_locking) class);
}

static void drop_class(struct scene *s, unsigned class, struct tdpi_table *t)
{
	tdpi_unlock(&s->mm->env, word_of(s, class, t));
	if (class == TDPI_LOCK_TABLE)
		tdpi_rcu_unlock(s->mm);
}

static void one_under_another(struct scene *s)
{
	take_class(s, held_class, s->parent);
	take_class(s, taken_class, s->child);
	drop_class(s, taken_class, s->child);
	drop_class(s, held_class, s->parent);
}

static void one_beside_another(struct scene *s)
{
	uint32_t other = 0; /* of another mm, or another ticket */

	take_class(s, held_class, s->parent);
	tdpi_lock(&s->mm->env, &other, (enum tdpi_locking)held_class);
}

/* A class that is no table's has one word here: twice is what it is under itself. */
static void each_class_under_each(void **state)
{
	char why[80];

	stage_up(state);
	for (held_class = 0; held_class < CLASSES; held_class++) {
		for (taken_class = 0; taken_class < CLASSES; taken_class++) {
			if (strchr(under[taken_class], letters[held_class])) {
				permitted(one_under_another);
				continue;
			}
			if (held_class == taken_class)
				snprintf(why, sizeof(why), "%s taken twice by one thread",
					 names[taken_class]);
			else
				snprintf(why, sizeof(why), "%s while holding %s",
					 taken_class == TDPI_LOCK_TABLE ? "table (level 0)"
									: names[taken_class],
					 names[held_class]);
			refused(one_under_another, why);
		}
		snprintf(why, sizeof(why), "%s while holding %s", names[held_class],
			 names[held_class]);
		if (held_class != TDPI_LOCK_TABLE)
			refused(one_beside_another, why);
	}
	stage_down();
}

static void two_tickets(struct scene *s)
{
	tdpi_lock(&s->mm->env, &s->mm->tickets[0].busy, TDPI_LOCK_TICKET);
	tdpi_trylock(&s->mm->env, &s->mm->tickets[1].busy, TDPI_LOCK_TICKET);
}

static void a_ticket_that_is_taken(struct scene *s)
{
	uint32_t busy = 1;

	if (!tdpi_trylock(&s->mm->env, &busy, TDPI_LOCK_TICKET))
		tdpi_lock(&s->mm->env, &s->mm->tickets[0].busy, TDPI_LOCK_TICKET);
	tdpi_unlock(&s->mm->env, &s->mm->tickets[0].busy);
}

static void tickets_are_tried(void **state)
{
	stage_up(state);
	refused(two_tickets, "ticket while holding ticket");
	permitted(a_ticket_that_is_taken);
	stage_down();
}

/* ---- order: tables ---- */

static void down_the_way(struct scene *s)
{
	tdpi_rcu_lock(s->mm);
	take(s, s->top);
	take(s, s->parent);
	take(s, s->child);
	drop(s, s->parent); /* in any order */
	drop(s, s->child);
	take(s, s->uncle);
	drop(s, s->uncle);
	drop(s, s->top);
	tdpi_rcu_unlock(s->mm);
}

static void up(struct scene *s)
{
	tdpi_rcu_lock(s->mm);
	take(s, s->child);
	take(s, s->parent);
}

static void two_siblings(struct scene *s)
{
	tdpi_rcu_lock(s->mm);
	take(s, s->parent);
	take(s, s->child);
	take(s, s->sibling);
}

static void past_the_parent(struct scene *s)
{
	tdpi_rcu_lock(s->mm);
	take(s, s->top);
	take(s, s->child);
}

static void a_childs_cousin(struct scene *s)
{
	tdpi_rcu_lock(s->mm);
	take(s, s->uncle);
	take(s, s->child);
}

static void the_root_below(struct scene *s)
{
	tdpi_rcu_lock(s->mm);
	take(s, s->top);
	take(s, s->mm->roots->table);
}

static void the_same_twice(struct scene *s)
{
	tdpi_rcu_lock(s->mm);
	take(s, s->child);
	take(s, s->child);
}

static void tables_from_parent_to_child(void **state)
{
	stage_up(state);
	refused(the_same_twice, "table (level 0) taken twice by one thread");
	permitted(down_the_way);
	refused(up, "table (level 1) while holding what is not its parent, table (level 0)");
	refused(two_siblings,
		"table (level 0) while holding what is not its parent, table (level 0)");
	refused(past_the_parent,
		"table (level 0) while holding what is not its parent, table (level 2)");
	refused(a_childs_cousin,
		"table (level 0) while holding what is not its parent, table (level 1)");
	refused(the_root_below,
		"table (level 3) while holding what is not its parent, table (level 2)");
	stage_down();
}

/* ---- context ---- */

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t lg2, uint32_t access, struct tdp_page *page)
{
	(void)arg;
	(void)access;
	page->pa = SLOT_PA + gpa;
	page->lg2 = lg2;
	page->prot = TDP_RWX | TDP_MT_WB;
	return 0;
}

static void release(void *arg, tdp_gpa_t gpa, const struct tdp_page *page, uint32_t flags)
{
	(void)arg;
	(void)gpa;
	(void)page;
	(void)flags;
}

static const struct tdpi_slot backed = {.ops = {.resolve = resolve, .release = release}};

static void call_obj_alloc(struct scene *s)
{
	s->mm->env.obj_free(s->mm->env.priv, tdpi_obj_alloc(&s->mm->env, 64), 64);
}

static void call_chunk_alloc(struct scene *s)
{
	uint64_t size = s->mm->chunk_mask + 1;

	s->mm->env.chunk_free(s->mm->env.priv, tdpi_chunk_alloc(&s->mm->env, size, TDP_NODE_ANY),
			      size);
}

static void call_resolve(struct scene *s)
{
	struct tdp_page page;

	tdpi_resolve(s->mm, &backed, 0, TDP_PAGE_LG2, TDP_R, &page);
}

static void call_release(struct scene *s)
{
	struct tdp_page page = {0};

	tdpi_release(s->mm, &backed, 0, &page, 0);
}

static void call_yield(struct scene *s)
{
	tdpi_yield(&s->mm->env);
}

static void call_synchronize(struct scene *s)
{
	tdpi_synchronize(s->mm);
}

static void call_barrier(struct scene *s)
{
	tdpi_barrier(s->mm);
}

static void call_flush(struct scene *s)
{
	struct tdpi_counts counts = {0};
	struct tdpi_gather g;

	tdpi_gather_begin_flush_only(&g, s->mm, &counts, TDP_OP_ZAP);
	tdpi_flush(&g, 0, 1, TDPI_LEVELS_ALL, 0);
}

static void call_flush_begin(struct scene *s)
{
	struct tdpi_counts counts = {0};
	struct tdpi_gather g;

	tdpi_gather_begin_flush_only(&g, s->mm, &counts, TDP_OP_ZAP);
	tdpi_gather_range(&g, 0, 1, TDPI_LEVELS_ALL, TDP_FLUSH_OWED);
	tdpi_gather_ahead(&g);
}

static void call_flush_wait(struct scene *s)
{
	struct tdpi_counts counts = {0};
	struct tdpi_gather g;

	tdpi_gather_begin_flush_only(&g, s->mm, &counts, TDP_OP_ZAP);
	g.token[g.begun++] = s->mm->backend.flush_begin(s->mm->backend_ctx, range_of(0, 0), 0);
	tdpi_gather_finish(&g);
}

static void call_collected(struct scene *s)
{
	tdpi_wait_collected(s->mm);
}

static void at_begin(struct scene *s)
{
	(void)tdpi_mm_check(s->mm);
}

static void at_return(struct scene *s)
{
	tdpi_lockcheck(&s->mm->env, TDPI_AT_RETURN);
}

static void at_operation_end(struct scene *s)
{
	tdpi_lockcheck(&s->mm->env, TDPI_AT_OPERATION_END);
}

static void at_section_end(struct scene *s)
{
	tdpi_lockcheck(&s->mm->env, TDPI_AT_SECTION_END);
}

/* What may sleep, and where something must have been left: what may be held there, and may it be inside a section? */
static const struct call {
	void (*fn)(struct scene *s);
	const char *name, *under;
	bool inside;
} calls[] = {
	{call_obj_alloc, "an allocation", "SK", false},
	{call_chunk_alloc, "an allocation", "SK", false},
	{call_resolve, "a call of the backing", "K", false},
	{call_release, "a call of the backing", "K", false},
	{call_yield, "yield", "SK", false},
	{call_synchronize, "rcu.synchronize", "S", false},
	{call_barrier, "rcu.barrier", "", false},
	{call_flush, "a flush", "TSK", true},
	{call_flush_begin, "the beginning of a flush", "SK", true},
	{call_flush_wait, "waiting for a flush", "SK", false},
	{call_collected, "waiting for dirty bits", "K", false},
	{at_begin, "the beginning of a call", "", false},
	{at_return, "the end of a call", "", false},
	{at_operation_end, "the end of an operation", "S", false},
	{at_section_end, "the end of a read-side section", "SK", true},
};

static const struct call *call;

static void call_holding(struct scene *s)
{
	take_class(s, held_class, s->child);
	call->fn(s);
	drop_class(s, held_class, s->child);
}

static void call_inside(struct scene *s)
{
	tdpi_rcu_lock(s->mm);
	call->fn(s);
	tdpi_rcu_unlock(s->mm);
}

static void each_call_under_each_class(void **state)
{
	char why[80];

	stage_up(state);
	for (call = calls; call < calls + ARRAY_LEN(calls); call++) {
		permitted(call->fn);
		for (held_class = 0; held_class < CLASSES; held_class++) {
			if (strchr(call->under, letters[held_class])) {
				permitted(call_holding);
				continue;
			}
			snprintf(why, sizeof(why), "%s while holding %s", call->name,
				 held_class == TDPI_LOCK_TABLE ? "table (level 0)"
							       : names[held_class]);
			refused(call_holding, why);
		}
		snprintf(why, sizeof(why), "%s inside a read-side section", call->name);
		if (call->inside)
			permitted(call_inside);
		else
			refused(call_inside, why);
	}
	stage_down();
}

static void class_inside(struct scene *s)
{
	tdpi_rcu_lock(s->mm);
	tdpi_lock(&s->mm->env, word_of(s, taken_class, s->child), (enum tdpi_locking)taken_class);
	tdpi_unlock(&s->mm->env, word_of(s, taken_class, s->child));
	tdpi_rcu_unlock(s->mm);
}

static void table_outside(struct scene *s)
{
	take(s, s->child);
}

/* Whoever sleeps with a lock held may wait for readers, so no reader waits for it. */
static void readers_wait_for_nobody_who_sleeps(void **state)
{
	char why[80];

	stage_up(state);
	for (taken_class = 0; taken_class < CLASSES; taken_class++) {
		snprintf(why, sizeof(why), "%s inside a read-side section", names[taken_class]);
		if (strchr("SrK", letters[taken_class]))
			refused(class_inside, why);
		else
			permitted(class_inside);
	}
	refused(table_outside, "table (level 0) outside of a read-side section");
	stage_down();
}

/* ---- pairs ---- */

static void drop_twice(struct scene *s)
{
	tdpi_lock(&s->mm->env, &s->mm->inv.lock, TDPI_LOCK_INV);
	tdpi_unlock(&s->mm->env, &s->mm->inv.lock);
	tdpi_unlock(&s->mm->env, &s->mm->inv.lock);
}

static void leave_twice(struct scene *s)
{
	tdpi_rcu_lock(s->mm);
	tdpi_rcu_unlock(s->mm);
	tdpi_rcu_unlock(s->mm);
}

static void leave_with_a_table(struct scene *s)
{
	tdpi_rcu_lock(s->mm);
	tdpi_rcu_lock(s->mm);
	take(s, s->child);
	tdpi_rcu_unlock(s->mm); /* still inside one */
	tdpi_rcu_unlock(s->mm);
}

static void end_with_a_lock(struct scene *s)
{
	struct tdpi_bulk b;

	tdpi_bulk_begin(&b, s->mm, TDP_OP_ZAP);
	tdpi_lock(&s->mm->env, &s->mm->roots_lock, TDPI_LOCK_ROOTS);
	tdpi_bulk_end(&b);
}

static void end_in_a_section(struct scene *s)
{
	struct tdpi_bulk b;

	tdpi_bulk_begin(&b, s->mm, TDP_OP_ZAP);
	tdpi_rcu_lock(s->mm);
	tdpi_bulk_end(&b);
}

static void end_under_slots(struct scene *s)
{
	struct tdpi_bulk b;

	tdpi_lock(&s->mm->env, &s->mm->slots_lock, TDPI_LOCK_SLOTS);
	tdpi_bulk_begin(&b, s->mm, TDP_OP_ZAP);
	tdpi_bulk_end(&b);
	tdpi_unlock(&s->mm->env, &s->mm->slots_lock);
}

static void begin_with_a_lock(struct scene *s)
{
	tdpi_lock(&s->mm->env, &s->mm->roots_lock, TDPI_LOCK_ROOTS);
	tdp_vcpu_load(s->vm.cpu[0].vcpu);
}

static void begin_in_a_section(struct scene *s)
{
	tdpi_rcu_lock(s->mm);
	tdp_vcpu_load(s->vm.cpu[0].vcpu);
}

static void destroy_in_a_section(struct scene *s)
{
	tdpi_rcu_lock(s->mm);
	tdp_mm_destroy(s->mm);
}

static void translate_in_a_section(struct scene *s)
{
	tdpi_rcu_lock(s->mm); /* as a visitor of tdp_walk() may */
	translate(&s->vm, 0, 0, NULL);
	tdpi_rcu_unlock(s->mm);
}

static void what_is_taken_is_dropped(void **state)
{
	stage_up(state);
	refused(drop_twice, "the drop of a lock that this thread does not hold");
	refused(leave_twice, "the end of a read-side section that was not entered");
	refused(leave_with_a_table, "the end of a read-side section while holding table (level 0)");
	refused(end_with_a_lock, "the end of an operation while holding roots_lock");
	refused(end_in_a_section, "the end of an operation inside a read-side section");
	permitted(end_under_slots);
	refused(begin_with_a_lock, "the beginning of a call while holding roots_lock");
	refused(begin_in_a_section, "the beginning of a call inside a read-side section");
	refused(destroy_in_a_section, "the beginning of a call inside a read-side section");
	permitted(translate_in_a_section);
	stage_down();
}

/* ---- in the middle of operations ---- */

static void leak_slots(struct scene *s)
{
	tdpi_lock(&s->mm->env, &s->mm->slots_lock, TDPI_LOCK_SLOTS);
}

static void leak_section(struct scene *s)
{
	tdpi_rcu_lock(s->mm);
}

/* The vCPU's cache has to be filled first, and there it happens. */
static void fault_leaking_a_lock(struct scene *s)
{
	tdpi_cache_drain(s->mm, &s->vm.cpu[0].vcpu->cache);
	s->leak = leak_slots;
	fault(&s->vm, 0, TEST_PAGE, TDP_R);
}

static void fault_leaking_a_section(struct scene *s)
{
	tdpi_cache_drain(s->mm, &s->vm.cpu[0].vcpu->cache);
	s->leak = leak_section;
	fault(&s->vm, 0, TEST_PAGE, TDP_R);
}

static void backed_fault_leaking_a_section(struct scene *s)
{
	struct tdp_backing_ops ops = {.size = sizeof(ops), .resolve = resolve};
	struct tdp_slot_desc desc = {.size = sizeof(desc), .as_id = 1, .backing = &ops};
	uint32_t id;

	desc.gpa = range_of(0, GIB);
	if (tdp_slot_add(s->mm, &desc, &id) || tdp_vcpu_set_as(s->vm.cpu[0].vcpu, 1) ||
	    tdp_vcpu_load(s->vm.cpu[0].vcpu))
		_exit(1);
	tdpi_cache_drain(s->mm, &s->vm.cpu[0].vcpu->cache);
	s->leak = leak_section;
	fault(&s->vm, 0, TEST_PAGE, TDP_R);
}

static void zap_leaking_a_section(struct scene *s)
{
	s->leak = leak_section;
	tdp_zap(s->mm, 0, everything(&s->vm), 0);
}

static void all_is_well(struct scene *s)
{
	fault(&s->vm, 0, TEST_PAGE, TDP_R);
	tdp_zap(s->mm, 0, everything(&s->vm), 0);
}

static void leaks_are_seen_where_they_matter(void **state)
{
	stage_up(state);
	permitted(all_is_well);
	refused(fault_leaking_a_lock, "the end of a call while holding slots_lock");
	refused(fault_leaking_a_section, "the end of a call inside a read-side section");
	refused(backed_fault_leaking_a_section, "a call of the backing inside a read-side section");
	refused(zap_leaking_a_section, "yield inside a read-side section");
	stage_down();
}

static void verify_aside(struct test_vm *vm, void *arg)
{
	struct tdp_report report = {.size = (uint32_t)sizeof(report)};

	*(int *)arg = tdp_verify(vm->mm, &report);
}

/* What one thread holds is nothing to another. */
static void threads_have_records_of_their_own(void **state)
{
	int ret = -1;

	stage_up(state);
	tdpi_lock(&scene.mm->env, &scene.mm->slots_lock, TDPI_LOCK_SLOTS);
	run_aside(&scene.vm, verify_aside, &ret);
	tdpi_unlock(&scene.mm->env, &scene.mm->slots_lock);
	assert_int_equal(ret, TDP_OK);
	stage_down();
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(each_class_under_each, first_format),
		TEST_CASE_IF(tickets_are_tried, first_format),
		TEST_CASE_IF(tables_from_parent_to_child, first_format),
		TEST_CASE_IF(each_call_under_each_class, first_format),
		TEST_CASE_IF(readers_wait_for_nobody_who_sleeps, first_format),
		TEST_CASE_IF(what_is_taken_is_dropped, first_format),
		TEST_CASE_IF(leaks_are_seen_where_they_matter, first_format),
		TEST_CASE_IF(threads_have_records_of_their_own, first_format),
	};

	if (!TDPI_LOCKCHECK) {
		puts("this build has no lock checker: it comes with TDP_DEBUG=2 or more");
		return 77;
	}
	return test_run("lockcheck", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* LOCKING.md as a table, and what this thread holds. */
#include "mm/lockcheck.h"

#if TDPI_LOCKCHECK
#include "mm/table.h"
#include "mm/text.h"

enum where { ANYWHERE, INSIDE, OUTSIDE }; /* of read-side sections */

#define TABLE (1u << TDPI_LOCK_TABLE)
#define SLOTS (1u << TDPI_LOCK_SLOTS)
#define RELOAD (1u << TDPI_LOCK_RELOAD)
#define TICKET (1u << TDPI_LOCK_TICKET)

/* What may be held meanwhile, and where. Classes that no row names are leaves: nothing is done under them. */
static const struct rule {
	const char *name;
	uint32_t under;
	enum where where;
} rules[] = {
	[TDPI_LOCK_TABLE] = {"table", SLOTS | TICKET | TABLE, INSIDE},
	[TDPI_LOCK_SLOTS] = {"slots_lock", 0, OUTSIDE},
	[TDPI_LOCK_RELOAD] = {"reload_lock", SLOTS, OUTSIDE},
	[TDPI_LOCK_ROOTS] = {"roots_lock", SLOTS | RELOAD | TICKET, ANYWHERE},
	[TDPI_LOCK_POOL] = {"pool_lock", SLOTS | TICKET, ANYWHERE},
	[TDPI_LOCK_RETIRE] = {"retire_lock", SLOTS | TICKET, ANYWHERE},
	[TDPI_LOCK_VCPUS] = {"vcpus_lock", SLOTS, ANYWHERE},
	[TDPI_LOCK_INV] = {"inv.lock", 0, ANYWHERE},
	[TDPI_LOCK_GATE] = {"gate.lock", SLOTS | RELOAD | TICKET | TABLE, ANYWHERE},
	[TDPI_LOCK_TICKET] = {"ticket", SLOTS, OUTSIDE},
	[TDPI_CALL_ALLOC] = {"an allocation", SLOTS | TICKET, OUTSIDE},
	[TDPI_CALL_BACKING] = {"a call of the backing", TICKET, OUTSIDE},
	[TDPI_CALL_YIELD] = {"yield", SLOTS | TICKET, OUTSIDE},
	[TDPI_CALL_SYNCHRONIZE] = {"rcu.synchronize", SLOTS, OUTSIDE},
	[TDPI_CALL_BARRIER] = {"rcu.barrier", 0, OUTSIDE},
	[TDPI_CALL_FLUSH] = {"a flush", SLOTS | TICKET | TABLE, ANYWHERE},
	[TDPI_CALL_FLUSH_BEGIN] = {"the beginning of a flush", SLOTS | TICKET, ANYWHERE},
	[TDPI_CALL_FLUSH_WAIT] = {"waiting for a flush", SLOTS | TICKET, OUTSIDE},
	[TDPI_CALL_COLLECTED] = {"waiting for dirty bits", TICKET, OUTSIDE},
	[TDPI_CALL_HELPERS] = {"waiting for helpers", 0, OUTSIDE},
	[TDPI_AT_DROP] = {"the drop of a lock", 0, ANYWHERE},
	[TDPI_AT_SECTION_END] = {"the end of a read-side section", SLOTS | TICKET, ANYWHERE},
	[TDPI_AT_OPERATION_END] = {"the end of an operation", SLOTS, OUTSIDE},
	[TDPI_AT_BEGIN] = {"the beginning of a call", 0, OUTSIDE},
	[TDPI_AT_RETURN] = {"the end of a call", 0, OUTSIDE},
};

struct held {
	const uint32_t *word;
	enum tdpi_locking class;
};

/* slots_lock, a ticket, a way of tables, gate.lock: the rules permit no more. */
#define HELD_MAX (3u + TDP_LEVELS_MAX)

/* In the block that each thread starts with: found without a call, so the core still needs nothing from outside. */
static _Thread_local struct {
	struct held held[HELD_MAX]; /* in the order of taking */
	unsigned count;
	unsigned sections; /* entered and not left */
} self __attribute__((tls_model("initial-exec")));

static const struct tdpi_table *table_with(const uint32_t *lock)
{
	return tdpi_container_of(lock, struct tdpi_table, lock);
}

static void put_name(struct tdpi_text *t, struct held h)
{
	tdpi_text_str(t, rules[h.class].name);
	if (h.class == TDPI_LOCK_TABLE) {
		tdpi_text_str(t, " (level ");
		tdpi_text_u64(t, table_with(h.word)->level);
		tdpi_text_str(t, ")");
	}
}

/* "against lib/LOCKING.md: what, why, which" on the host's log, and the end. */
static TDPI_COLD void breach(const struct tdp_env *env, struct held what, const char *why,
			     const struct held *which)
{
	struct tdpi_text t;
	char line[128];

	tdpi_text_init(&t, line, sizeof(line));
	tdpi_text_str(&t, "against lib/LOCKING.md: ");
	put_name(&t, what);
	tdpi_text_str(&t, why);
	if (which)
		put_name(&t, *which);
	tdpi_text_end(&t);
	if (env->log)
		env->log(env->priv, TDP_LOG_BUG, line);
	TDPI_ASSERT(false);
}

/* Tables are only locked by an mm, with the env in it. The parent of a table never changes; a root has none. */
static bool is_parent(const struct tdp_env *env, const struct held *above, const struct held *below)
{
	const struct tdp_mm *mm = tdpi_container_of(env, struct tdp_mm, env);
	const struct tdpi_table *t = table_with(below->word);

	return tdpi_table_of(mm, t->parent) == table_with(above->word);
}

static void check(const struct tdp_env *env, struct held what)
{
	const struct rule *rule = &rules[what.class];
	const struct held *table = NULL;

	for (unsigned i = 0; i < self.count; i++) {
		const struct held *h = &self.held[i];

		if (h->word == what.word)
			breach(env, what, " taken twice by one thread", NULL);
		if (!(rule->under >> h->class & 1))
			breach(env, what, " while holding ", h);
		if (h->class == TDPI_LOCK_TABLE)
			table = h;
	}
	if (what.class == TDPI_LOCK_TABLE && table && !is_parent(env, table, &what))
		breach(env, what, " while holding what is not its parent, ", table);
	if (rule->where == INSIDE && !self.sections)
		breach(env, what, " outside of a read-side section", NULL);
	if (rule->where == OUTSIDE && self.sections)
		breach(env, what, " inside a read-side section", NULL);
}

void tdpi_lockcheck(const struct tdp_env *env, enum tdpi_locking what)
{
	check(env, (struct held){NULL, what});
}

void tdpi_lockcheck_take(const struct tdp_env *env, const uint32_t *word, enum tdpi_locking class)
{
	struct held h = {word, class};

	check(env, h);
	TDPI_ASSERT(self.count < HELD_MAX);
	self.held[self.count++] = h;
}

void tdpi_lockcheck_drop(const struct tdp_env *env, const uint32_t *word)
{
	unsigned i = self.count;

	while (i > 0 && self.held[i - 1].word != word)
		i--;
	if (i == 0)
		breach(env, (struct held){NULL, TDPI_AT_DROP}, " that this thread does not hold",
		       NULL);
	for (self.count--; i <= self.count; i++)
		self.held[i - 1] = self.held[i];
}

void tdpi_lockcheck_enter(void)
{
	self.sections++;
}

void tdpi_lockcheck_leave(const struct tdp_env *env)
{
	struct held end = {NULL, TDPI_AT_SECTION_END};

	if (self.sections == 0)
		breach(env, end, " that was not entered", NULL);
	if (self.sections == 1)
		check(env, end);
	self.sections--;
}
#endif

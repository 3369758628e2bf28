/* SPDX-License-Identifier: BSD-2-Clause */
/* The read-only side: translate, walk, dump, explain, verify, statistics. */
#include "mm/range.h"
#include "mm/root.h"
#include "mm/slot.h"
#include "mm/text.h"

/* The valid root of an address space, without a reference: inside a read section only. */
static struct tdp_root *current_root(struct tdp_mm *mm, uint32_t as_id)
{
	struct tdp_root *root = tdpi_load_acquire(&mm->roots);

	for (; root; root = tdpi_load_acquire(&root->next))
		if (root->as_id == as_id && !tdpi_load_acquire(&root->invalid))
			return root;
	return NULL;
}

static int check_one(const struct tdp_mm *mm, uint32_t as_id, tdp_gpa_t gpa)
{
	int ret = tdpi_mm_state(mm); /* a visitor may translate */

	if (ret)
		return ret;
	if (as_id >= TDP_AS_MAX)
		return TDP_EINVAL;
	return gpa >> mm->gpa_bits ? TDP_ERANGE : TDP_OK;
}

int tdp_translate(struct tdp_mm *mm, uint32_t as_id, tdp_gpa_t gpa, struct tdp_mapping *out)
{
	struct tdp_root *root;
	int ret = check_one(mm, as_id, gpa);

	if (ret)
		return ret;
	if (!out || out->size != sizeof(*out))
		return TDP_EINVAL;
	tdpi_rcu_lock(mm);
	root = current_root(mm, as_id);
	ret = root && mm->engine->translate(mm, root, gpa >> TDP_PAGE_LG2, out) ? TDP_OK
										: TDP_ENOENT;
	tdpi_rcu_unlock(mm);
	return ret;
}

int tdp_walk_gpa(struct tdp_mm *mm, uint32_t as_id, tdp_gpa_t gpa, struct tdp_path *path)
{
	struct tdp_root *root;
	int ret = check_one(mm, as_id, gpa);

	if (ret)
		return ret;
	if (!path || path->size != sizeof(*path))
		return TDP_EINVAL;
	tdpi_rcu_lock(mm);
	root = current_root(mm, as_id);
	if (root) {
		memset(path, 0, sizeof(*path));
		path->size = sizeof(*path);
		mm->engine->path(mm, root, gpa >> TDP_PAGE_LG2, path);
	}
	tdpi_rcu_unlock(mm);
	return root ? TDP_OK : TDP_ENOENT;
}

int tdp_walk(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, uint32_t flags,
	     int (*fn)(void *arg, const struct tdp_visit *visit), void *arg)
{
	struct tdp_root *root;
	struct tdpi_span span;
	int ret = tdpi_span_check(mm, as_id, range, &span);

	if (ret)
		return ret;
	if (as_id >= TDP_AS_MAX || !fn || !flags ||
	    flags & ~(TDP_WALK_LEAF | TDP_WALK_TABLE_PRE | TDP_WALK_TABLE_POST | TDP_WALK_MMIO))
		return TDP_EINVAL;
	tdpi_rcu_lock(mm);
	root = current_root(mm, as_id);
	if (root)
		ret = mm->engine->walk(mm, root, span, flags, fn, arg);
	tdpi_rcu_unlock(mm);
	return ret;
}

/* ---- dump ---- */

struct dump {
	int (*fn)(void *arg, const char *line);
	void *arg;
	struct tdp_visit run; /* of equal leaves; its size in `bytes` */
	uint64_t bytes;
};

static int dump_flush(struct dump *d)
{
	char line[160];
	struct tdpi_text t;

	if (!d->bytes)
		return 0;
	tdpi_text_init(&t, line, sizeof(line));
	tdpi_text_hex(&t, d->run.gpa);
	tdpi_text_str(&t, "-");
	tdpi_text_hex(&t, d->run.gpa + d->bytes);
	tdpi_text_str(&t, " -> ");
	tdpi_text_hex(&t, d->run.pa);
	tdpi_text_str(&t, " ");
	tdpi_text_u64(&t, d->bytes >> d->run.lg2);
	tdpi_text_str(&t, " x ");
	tdpi_text_size(&t, d->run.lg2);
	tdpi_text_str(&t, " ");
	tdpi_text_prot(&t, d->run.prot);
	tdpi_text_str(&t, d->run.flags & TDP_MAP_ACCESSED ? " A" : " -");
	tdpi_text_str(&t, d->run.flags & TDP_MAP_DIRTY ? "D" : "-");
	if (d->run.flags & TDP_MAP_TRACKED_ACCESS)
		tdpi_text_str(&t, " access-tracked");
	tdpi_text_end(&t);
	d->bytes = 0;
	return d->fn(d->arg, line);
}

static int dump_leaf(void *arg, const struct tdp_visit *v)
{
	struct dump *d = arg;
	int ret;

	if (d->bytes && v->gpa == d->run.gpa + d->bytes && v->pa == d->run.pa + d->bytes &&
	    v->lg2 == d->run.lg2 && v->prot == d->run.prot && v->flags == d->run.flags) {
		d->bytes += TDPI_BIT(v->lg2);
		return 0;
	}
	ret = dump_flush(d);
	if (ret < 0)
		return ret;
	d->run = *v;
	d->bytes = TDPI_BIT(v->lg2);
	return 0;
}

int tdp_dump(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range,
	     int (*fn)(void *arg, const char *line), void *arg)
{
	struct dump d = {.fn = fn, .arg = arg};
	int ret;

	if (!fn)
		return TDP_EINVAL;
	ret = tdp_walk(mm, as_id, range, TDP_WALK_LEAF, dump_leaf, &d);
	if (ret >= 0) {
		ret = dump_flush(&d);
		ret = ret < 0 ? ret : 0;
	}
	return ret;
}

/* ---- explain ---- */

static void explain_slot(struct tdp_mm *mm, uint32_t as_id, tdpi_gfn_t gfn, struct tdpi_text *t)
{
	const struct tdpi_slot *slot = tdpi_slot_at(mm, as_id, gfn);

	if (!slot) {
		tdpi_text_str(t, "no slot: accesses are MMIO\n");
		return;
	}
	tdpi_text_str(t, "slot ");
	tdpi_text_u64(t, slot->id);
	tdpi_text_str(t, " at ");
	tdpi_text_hex(t, slot->base << TDP_PAGE_LG2);
	tdpi_text_str(t, slot->ops.resolve ? ", resolved" : ", linear");
	if (tdpi_slot_readonly(slot))
		tdpi_text_str(t, ", read-only");
	if (tdpi_slot_log(slot))
		tdpi_text_str(t, tdpi_slot_log(slot) == TDP_LOG_DBIT
					 ? ", logged by Dirty bit"
					 : ", logged by write protection");
	if (tdpi_slot_tracked(slot, gfn))
		tdpi_text_str(t, ", writes to this page are tracked");
	tdpi_text_str(t, "\n");
}

static void explain_leaf(const struct tdp_mapping *m, struct tdpi_text *t)
{
	tdpi_text_size(t, m->lg2);
	tdpi_text_str(t, " page at ");
	tdpi_text_hex(t, m->pa);
	tdpi_text_str(t, " ");
	tdpi_text_prot(t, m->prot);
	if (!(m->prot & TDP_W))
		tdpi_text_str(t, !(m->flags & TDP_MAP_HOST_WRITABLE)
					 ? "; not writable: the backing or the slot is read-only"
				 : !(m->flags & TDP_MAP_MMU_WRITABLE)
					 ? "; not writable: writes are tracked"
					 : "; not writable now: the next write fault grants it");
	if (m->flags & TDP_MAP_TRACKED_ACCESS)
		tdpi_text_str(t, "; aged: the next access faults and restores it");
	tdpi_text_str(t, m->flags & TDP_MAP_ACCESSED ? "; accessed" : "; not accessed");
	tdpi_text_str(t, m->flags & TDP_MAP_DIRTY ? ", dirty\n" : ", clean\n");
}

static void explain_path(const struct tdp_path *p, struct tdpi_text *t)
{
	static const char kinds[5][6] = {"empty", "table", "leaf", "froze", "mmio"};

	for (unsigned level = p->first_level + 1u; level-- > p->last_level;) {
		tdpi_text_str(t, "level ");
		tdpi_text_u64(t, level);
		tdpi_text_str(t, ": ");
		tdpi_text_hex(t, p->entry[level]);
		tdpi_text_str(t, " ");
		tdpi_text_str(t, kinds[p->kind[level]]);
		tdpi_text_str(t, "\n");
	}
}

int tdp_explain(struct tdp_mm *mm, uint32_t as_id, tdp_gpa_t gpa, char *buf, size_t len)
{
	struct tdp_mapping leaf = {0};
	struct tdp_path path = {0};
	struct tdp_root *root;
	struct tdpi_text t;
	int ret = check_one(mm, as_id, gpa);

	if (ret)
		return ret;
	if (!buf && len)
		return TDP_EINVAL;
	tdpi_text_init(&t, buf, len);
	tdpi_text_hex(&t, gpa);
	tdpi_text_str(&t, ": ");
	tdpi_rcu_lock(mm);
	explain_slot(mm, as_id, gpa >> TDP_PAGE_LG2, &t);
	root = current_root(mm, as_id);
	if (!root) {
		tdpi_text_str(&t, "no root yet\n");
	} else {
		mm->engine->path(mm, root, gpa >> TDP_PAGE_LG2, &path);
		explain_path(&path, &t);
		if (mm->engine->translate(mm, root, gpa >> TDP_PAGE_LG2, &leaf))
			explain_leaf(&leaf, &t);
		else
			tdpi_text_str(&t, "not mapped\n");
	}
	tdpi_rcu_unlock(mm);
	return tdpi_text_end(&t);
}

/* ---- all of it ---- */

static void check_roots(struct tdp_mm *mm, struct tdp_report *report)
{
	tdpi_for_each_root(mm, root, TDP_AS_ALL, TDPI_ROOTS_ALL)
	{
		report->roots++;
		tdpi_rcu_lock(mm);
		mm->engine->check(mm, root, report);
		tdpi_rcu_unlock(mm);
	}
}

#if TDP_DEBUG >= 3
void tdpi_check_all(struct tdp_mm *mm)
{
	struct tdp_report report = {0};

	check_roots(mm, &report);
	TDPI_ASSERT(report.errors == 0);
}
#endif

int tdp_verify(struct tdp_mm *mm, struct tdp_report *report)
{
	int ret = tdpi_mm_check(mm);

	if (ret && ret != TDP_EIO)
		return ret;
	if (!report || report->size != sizeof(*report))
		return TDP_EINVAL;
	memset(report, 0, sizeof(*report));
	report->size = sizeof(*report);
	check_roots(mm, report);
	tdpi_lock(&mm->env, &mm->vcpus_lock, TDPI_LOCK_VCPUS);
	for (const struct tdp_vcpu *v = mm->vcpus; v; v = v->next)
		report->cached += tdpi_load_relaxed(&v->cache.count);
	tdpi_unlock(&mm->env, &mm->vcpus_lock);
	report->retired = tdpi_load_relaxed(&mm->retired);
	report->allocated = tdpi_load_relaxed(&mm->tables_taken);
	return report->errors ? TDP_EIO : TDP_OK;
}

int tdp_stats(struct tdp_mm *mm, struct tdp_stats *stats)
{
	struct tdpi_counts c;

	if (!mm || !stats || stats->size != sizeof(*stats))
		return TDP_EINVAL;
	tdpi_counts_sum(mm, &c);
	memset(stats, 0, sizeof(*stats));
	stats->size = sizeof(*stats);
	memcpy(stats->faults, c.faults, sizeof(c.faults));
	memcpy(stats->flush_cause, c.flush_cause, sizeof(c.flush_cause));
	memcpy(stats->flush_op, c.flush_op, sizeof(c.flush_op));
	memcpy(stats->leaves, c.leaves, sizeof(c.leaves));
	memcpy(stats->tables, c.tables, sizeof(c.tables));
	for (unsigned i = 0; i < TDP_STALL_BUCKETS; i++)
		stats->stalls[i] = tdpi_load_relaxed(&mm->stalls[i]);
	stats->fault_errors = c.fault_errors;
	stats->fault_fast = c.fault_fast;
	stats->fault_prechecked = c.fault_prechecked;
	stats->resolves = c.resolves;
	stats->flush_range = c.flush_range;
	stats->flush_leaves = c.flush_leaves;
	stats->flush_begun = c.flush_begun;
	stats->flush_all = c.flush_all;
	stats->flush_vcpu = c.flush_vcpu;
	stats->mmio = c.mmio;
	stats->splits = c.splits;
	stats->collapses = c.collapses;
	stats->root_hits = c.root_hits;
	stats->root_creates = c.root_creates;
	stats->yields = c.yields;
	stats->table_bytes = tdpi_load_relaxed(&mm->tables_taken) * TDP_PAGE_SIZE;
	tdpi_pool_stats(mm, stats);
	tdpi_for_each_root(mm, root, TDP_AS_ALL, TDPI_ROOTS_ALL)
	{
		if (tdpi_load_acquire(&root->invalid))
			stats->roots_invalid++;
		else
			stats->roots_valid++;
	}
	return TDP_OK;
}

bool tdp_is_root(struct tdp_mm *mm, tdp_pa_t pa)
{
	bool is = false;

	if (!mm)
		return false;
	tdpi_for_each_root(mm, root, TDP_AS_ALL, TDPI_ROOTS_ALL)
	{
		if (tdpi_table_pa(mm, root->table) == (pa | mm->encrypt_mask))
			is = true;
	}
	return is;
}

int tdp_table_gpa(struct tdp_mm *mm, tdp_pa_t pa, uint32_t index, tdp_gpa_t *gpa, uint32_t *as_id)
{
	const struct tdpi_table *t;
	int ret = tdpi_mm_check(mm);

	if (ret)
		return ret;
	if (!gpa || index >> mm->index_lg2)
		return TDP_EINVAL;
	tdpi_rcu_lock(mm);
	t = tdpi_pool_find(mm, pa);
	if (!t) {
		ret = TDP_ENOENT;
	} else {
		*gpa = (t->gfn + index * tdpi_level_pages(mm, t->level)) << TDP_PAGE_LG2;
		if (as_id)
			*as_id = tdp_role_as(t->role);
	}
	tdpi_rcu_unlock(mm);
	return ret;
}

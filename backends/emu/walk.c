/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The second-stage walk that all formats share: read an entry, let the format decode it, cache
 * pointers to tables, set Accessed and Dirty.
 *
 * Hardware may do more than it must, and this walker does: it caches a pointer to a table the
 * moment it reads it, also when the walk then ends in a fault, and starts the next walk from the
 * deepest pointer.
 */
#include "emu_int.h"

static unsigned level_shift(const struct emu_regs *r, unsigned level)
{
	return 12u + (unsigned)r->index_lg2 * level;
}

static uint64_t index_at(const struct emu_regs *r, unsigned level, tdp_gpa_t gpa)
{
	uint64_t i = gpa >> level_shift(r, level);

	/* The root may be wider than a table (concatenation); gpa < 1 << input_bits bounds it. */
	return level == r->start ? i : i & (EMU_BIT(r->index_lg2) - 1);
}

uint64_t *tdpi_emu_word(struct tdp_emu_vcpu *v, tdp_gpa_t gpa, tdp_pa_t pa, const char *gone,
			const char *nothing)
{
	const struct tdp_emu_config *cfg = &v->emu->cfg;
	void *p = cfg->mem ? cfg->mem(cfg->mem_arg, pa) : (void *)(uintptr_t)pa;

	/* The step begins before the question, so that whoever frees the page comes before or after both. */
	EMU_POINT(READ, p, sizeof(uint64_t));
	if (tdpi_emu_is_gone(&v->emu->gone, pa)) {
		/* Nothing good can come from what such a page holds now: do not read it. */
		tdpi_emu_violation(v, gone, gpa, pa);
		return NULL;
	}
	if (!p)
		tdpi_emu_violation(v, nothing, gpa, pa);
	return p;
}

/* The entry at pa; false: a bus error. *word stays NULL for foreign tables. */
static bool read_entry(struct emu_walk *w, tdp_gpa_t gpa, tdp_pa_t pa, uint64_t **word,
		       uint64_t *raw)
{
	w->refs++;
	*word = NULL;
	if (!w->vcpu)
		return w->read(w->read_arg, pa, raw) == 0;
	*word = tdpi_emu_word(w->vcpu, gpa, pa, "walk through a table that is gone",
			      "table where no memory is");
	if (!*word)
		return false;
	*raw = __atomic_load_n(*word, __ATOMIC_ACQUIRE);
	return true;
}

/*
 * OR bits into an entry if it still is what was decoded; false: walk again. A failure means that
 * somebody else changed the entry, so retrying cannot go on without progress elsewhere.
 */
static bool set_bits(uint64_t *word, uint64_t raw, uint64_t bits)
{
	EMU_POINT(WRITE, word, sizeof(*word));
	return __atomic_compare_exchange_n(word, &raw, raw | bits, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

static bool caching(const struct emu_walk *w)
{
	return w->vcpu && !(w->vcpu->emu->cfg.flags & TDP_EMU_NO_TLB);
}

static void cache_table(struct emu_walk *w, tdp_gpa_t gpa, tdp_pa_t table, unsigned level,
			uint32_t prot)
{
	unsigned lg2 = level_shift(w->regs, level + 1);
	struct emu_slot s = {
		.key = (gpa >> lg2 << lg2) | lg2,
		.tag = w->regs->tag,
		.pa = table,
		.prot = (uint8_t)prot,
		.level = (uint8_t)level,
	};

	if (caching(w))
		tdpi_emu_map_put(&w->vcpu->tables, &s);
}

static enum emu_fault leaf_access(struct emu_walk *w, const struct emu_req *q, struct emu_xlate *x,
				  const struct emu_entry *e, uint64_t *word, uint64_t raw)
{
	uint64_t bits;

	x->lg2 = (uint8_t)level_shift(w->regs, x->level);
	x->pa = e->pa | (q->gpa & (EMU_BIT(x->lg2) - 1));
	x->uncached = false;
	x->clean = e->set_d && !(q->want & TDP_W);
	if (e->af_fault)
		return EMU_F_AF;
	if (q->want & ~x->prot) {
		/* An entry whose Accessed is clear is never cached (DDI 0487, D8.5.1). */
		x->uncached = e->set_a && word;
		return EMU_F_DENIED;
	}
	bits = e->set_a | (q->want & TDP_W ? e->set_d : 0);
	if (!bits || !word)
		return EMU_F_NONE;
	if (!set_bits(word, raw, bits)) {
		w->again = true;
		return EMU_F_NONE;
	}
	w->vcpu->st.accessed_set += e->set_a != 0;
	w->vcpu->st.dirty_set += (bits & e->set_d) != 0;
	return EMU_F_NONE;
}

/* One attempt; w->again tells that an entry changed under our atomic update. */
static enum emu_fault walk_once(struct emu_walk *w, const struct emu_req *q, struct emu_xlate *x)
{
	const struct emu_regs *r = w->regs;
	tdp_pa_t table = r->root;
	unsigned level = r->start;
	const struct emu_slot *s;

	x->prot = TDP_RWX;
	s = caching(w) ? tdpi_emu_map_find(&w->vcpu->tables, r->tag, q->gpa) : NULL;
	if (s) {
		table = s->pa;
		level = s->level;
		x->prot = s->prot;
		w->vcpu->st.walk_cache_hits++;
	}
	for (;; level--) {
		struct emu_entry e = {.prot = TDP_RWX};
		uint64_t *word, raw;
		enum emu_kind kind;

		x->level = (uint8_t)level;
		if (!read_entry(w, q->gpa, table + 8 * index_at(r, level, q->gpa), &word, &raw))
			return EMU_F_BUS;
		kind = r->arch->decode(r, raw, level, &e);
		if (kind == EMU_ABSENT)
			return EMU_F_ABSENT;
		if (kind == EMU_RESERVED)
			return EMU_F_RESERVED;
		if (kind == EMU_SIZE)
			return EMU_F_SIZE;
		x->prot &= e.prot;
		if (kind == EMU_LEAF)
			return leaf_access(w, q, x, &e, word, raw);
		/* Accessed comes before the pointer may be cached (SDM vol. 3C, 29.3.5). */
		if (e.set_a && word) {
			if (!set_bits(word, raw, e.set_a)) {
				w->again = true;
				return EMU_F_NONE;
			}
			w->vcpu->st.accessed_set++;
		}
		table = e.pa;
		cache_table(w, q->gpa, table, level - 1, x->prot);
	}
}

enum emu_fault tdpi_emu_walk(struct emu_walk *w, const struct emu_req *q, struct emu_xlate *x)
{
	enum emu_fault fault;

	x->lg2 = 12;
	x->pa = 0;
	x->prot = 0;
	x->clean = false;
	x->uncached = false;
	x->level = w->regs->start;
	if (q->gpa >> w->regs->input_bits)
		return EMU_F_ABSENT;
	do {
		w->again = false;
		fault = walk_once(w, q, x);
	} while (w->again);
	return fault;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The flat reference model: its arrays, the comparison with the tables, the bounds of the dirty
 * log. */
#include "model.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull;

struct model_leaf_seen {
	uint64_t gfn, pfn;
	uint32_t lg2, prot, flags;
	uint8_t model; /* LEAF_* as taken over */
};

void model_complain(struct model *m, const char *fmt, ...)
{
	va_list ap;

	if (m->complaints++ >= 8)
		return;
	fprintf(stderr, "%s: %s: ", m->vm->fmt->name, m->where);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int model_init(struct model *m, struct test_vm *vm, const struct model_window *win,
	       uint32_t windows)
{
	uint32_t i;

	memset(m, 0, sizeof(*m));
	m->vm = vm;
	m->windows = windows;
	for (i = 0; i < windows; i++) {
		m->win[i] = win[i];
		m->win[i].at = m->pages;
		m->pages += win[i].pages;
	}
	for (i = 0; i < MODEL_AS; i++) {
		m->lg2[i] = calloc(m->pages, 1);
		m->kept[i] = calloc(m->pages, 1);
		m->leaf[i] = calloc(m->pages, sizeof(*m->leaf[i]));
		if (!m->lg2[i] || !m->kept[i] || !m->leaf[i])
			return TDP_ENOMEM;
	}
	return TDP_OK;
}

void model_fini(struct model *m)
{
	uint32_t i;

	for (i = 0; i < MODEL_AS; i++) {
		free(m->lg2[i]);
		free(m->kept[i]);
		free(m->leaf[i]);
	}
	for (i = 0; i < MODEL_SLOTS; i++) {
		model_log_stop(&m->slot[i]);
		free(m->slot[i].track);
		free(m->slot[i].owner);
	}
	free(m->seen);
}

uint64_t model_at(const struct model *m, uint64_t gfn)
{
	uint32_t i;

	for (i = 0; i < m->windows; i++)
		if (gfn - m->win[i].gfn < m->win[i].pages)
			return m->win[i].at + (gfn - m->win[i].gfn);
	return MODEL_PAGE_NONE;
}

struct model_slot *model_slot_at(struct model *m, uint32_t as_id, uint64_t gfn)
{
	uint32_t i;

	for (i = 0; i < MODEL_SLOTS; i++) {
		struct model_slot *s = &m->slot[i];

		if (s->live && s->as_id == as_id && gfn - s->gfn < s->pages)
			return s;
	}
	return NULL;
}

uint64_t model_pfn(const struct model_slot *s, uint64_t gfn)
{
	/* Only the thread of the test changes it, so the lock of the memory is not needed here. */
	if (s->backing)
		return s->backing->frame[gfn - (s->backing->gpa >> TDP_PAGE_LG2)];
	return s->pfn + (gfn - s->gfn);
}

bool model_mapped(const struct model *m, uint32_t as_id, uint64_t gfn)
{
	uint64_t at = model_at(m, gfn);

	return at != MODEL_PAGE_NONE && m->lg2[as_id][at];
}

uint64_t model_leaf_of(const struct model *m, uint32_t as_id, uint64_t gfn, uint64_t *first,
		       uint64_t *pages)
{
	uint64_t at = model_at(m, gfn);
	uint32_t lg2 = m->lg2[as_id][at];

	*pages = lg2 ? (uint64_t)1 << (lg2 - TDP_PAGE_LG2) : 1;
	*first = gfn & ~(*pages - 1);
	return at - (gfn - *first);
}

void model_each(struct model *m, uint32_t as_id, uint64_t gfn, uint64_t end,
		void (*fn)(struct model *m, struct model_leaf *leaf, uint64_t first, uint64_t pages,
			   void *arg),
		void *arg)
{
	uint64_t first, pages, at;

	while (gfn < end) {
		at = model_at(m, gfn);
		if (at == MODEL_PAGE_NONE || !m->lg2[as_id][at]) {
			gfn++;
			continue;
		}
		at = model_leaf_of(m, as_id, gfn, &first, &pages);
		fn(m, &m->leaf[as_id][at], first, pages, arg);
		gfn = first + pages;
	}
}

static void clear_one(struct model *m, struct model_leaf *leaf, uint64_t first, uint64_t pages,
		      void *arg)
{
	(void)m;
	(void)first;
	(void)pages;
	leaf->flags = (uint8_t)(leaf->flags & ~*(uint8_t *)arg);
}

void model_clear(struct model *m, uint32_t as_id, uint64_t gfn, uint64_t end, uint8_t flags)
{
	model_each(m, as_id, gfn, end, clear_one, &flags);
}

void model_roots_gone(struct model *m)
{
	uint32_t i;
	uint64_t k;

	m->stale = true;
	for (i = 0; i < MODEL_SLOTS; i++) {
		struct model_slot *s = &m->slot[i];

		for (k = 0; s->live && s->log == TDP_LOG_DBIT && !s->fuzzy && k < s->pages; k++)
			s->fuzzy = m->lg2[s->as_id][model_at(m, s->gfn) + k] > TDP_PAGE_LG2;
	}
}

void model_forget(struct model *m, uint32_t as_id)
{
	memset(m->lg2[as_id], 0, m->pages);
}

/* ---- looking --------------------------------------------------------------------------------- */

/* Bit 1 of EPT and NPT words, of those that point to tables, too (TDP_LOG_LAZY). */
#define ENTRY_W ((uint64_t)1 << 1)

static bool tables_have_w(const struct test_vm *vm)
{
	return vm->fmt->format == TDP_FMT_EPT || vm->fmt->format == TDP_FMT_NPT;
}

static int see(void *arg, const struct tdp_visit *v)
{
	struct model *m = arg;
	struct model_leaf_seen *seen;

	if (m->seen_count == m->seen_room) {
		size_t room = m->seen_room ? 2 * m->seen_room : 4096;

		seen = realloc(m->seen, room * sizeof(*seen));
		if (!seen)
			return TDP_ENOMEM;
		m->seen = seen;
		m->seen_room = room;
	}
	seen = &m->seen[m->seen_count++];
	seen->gfn = v->gpa >> TDP_PAGE_LG2;
	seen->pfn = v->pa >> TDP_PAGE_LG2;
	seen->lg2 = v->lg2;
	seen->prot = v->prot;
	seen->flags = v->flags;
	/* Below what is shut it is not writable now, but may be with what is above it opened by another page's fault. */
	seen->model = tables_have_w(m->vm) && v->entry & ENTRY_W ? LEAF_W : 0;
	return 0;
}

static bool any_tracked(const struct model_slot *s, uint64_t gfn, uint64_t pages)
{
	uint64_t i;

	for (i = 0; s->tracked && i < pages; i++)
		if (s->track[gfn - s->gfn + i])
			return true;
	return false;
}

static bool any_owned(const struct model_slot *s, uint64_t gfn, uint64_t pages)
{
	uint64_t i;

	for (i = 0; s->owned && i < pages; i++)
		if (s->owner[gfn - s->gfn + i])
			return true;
	return false;
}

/* May a leaf of this size be made now? */
static bool huge_is_legal(const struct model_slot *s, uint64_t gfn, uint64_t pages)
{
	return s->log == TDP_LOG_OFF && !(s->flags & TDP_SLOT_FORCE_4K) &&
	       !any_tracked(s, gfn, pages);
}

/* Place, address, size and attributes: what no rule can excuse. Returns the slot or NULL. */
static struct model_slot *check_leaf(struct model *m, uint32_t as_id, struct model_leaf_seen *l)
{
	uint64_t pages = (uint64_t)1 << (l->lg2 - TDP_PAGE_LG2), i;
	struct model_slot *s = model_slot_at(m, as_id, l->gfn);
	uint32_t same = TDP_R | TDP_X | TDP_MT_MASK | TDP_SW_MASK;

	if (!s || l->gfn - s->gfn + pages > s->pages) {
		model_complain(m, "gfn %#llx is mapped (lg2 %u) beyond any slot", (ull)l->gfn,
			       l->lg2);
		return NULL;
	}
	if ((l->gfn | l->pfn) & (pages - 1))
		model_complain(m, "leaf at gfn %#llx, pfn %#llx, lg2 %u is not aligned",
			       (ull)l->gfn, (ull)l->pfn, l->lg2);
	for (i = 0; i < pages; i += s->backing ? 1 : pages) {
		if (l->pfn + i != model_pfn(s, l->gfn + i)) {
			model_complain(m,
				       "gfn %#llx is mapped to pfn %#llx instead of %#llx (lg2 %u)",
				       (ull)(l->gfn + i), (ull)(l->pfn + i),
				       (ull)model_pfn(s, l->gfn + i), l->lg2);
			break;
		}
	}
	if ((l->prot & same) != (s->prot & same))
		model_complain(m, "gfn %#llx has prot %#x instead of %#x", (ull)l->gfn, l->prot,
			       s->prot);
	if ((l->prot & TDP_W) && (!(s->prot & TDP_W) || (s->flags & TDP_SLOT_READONLY)))
		model_complain(m, "gfn %#llx is writable, prot %#x flags %#x", (ull)l->gfn, s->prot,
			       s->flags);
	if ((l->prot & TDP_W) && any_tracked(s, l->gfn, pages))
		model_complain(m, "gfn %#llx is writable but tracked", (ull)l->gfn);
	if (any_owned(s, l->gfn, pages))
		model_complain(m, "gfn %#llx (lg2 %u) is mapped but somebody else's", (ull)l->gfn,
			       l->lg2);
	if (l->lg2 > TDP_PAGE_LG2 && (s->flags & TDP_SLOT_FORCE_4K))
		model_complain(m, "gfn %#llx: lg2 %u in a slot of 4K pages", (ull)l->gfn, l->lg2);
	return s;
}

static void log_upper(struct model_slot *s, const struct model_leaf_seen *l)
{
	uint64_t i, first = l->gfn - s->gfn;

	if (s->log == TDP_LOG_OFF || !(l->flags & TDP_MAP_DIRTY))
		return;
	for (i = 0; i < (uint64_t)1 << (l->lg2 - TDP_PAGE_LG2); i++)
		model_bit_set(s->may, first + i);
}

static void check_known(struct model *m, const struct model_leaf_seen *l,
			const struct model_rules *r, uint8_t old_flags)
{
	bool fresh = l->gfn < r->map_end &&
		     l->gfn + ((uint64_t)1 << (l->lg2 - TDP_PAGE_LG2)) > r->map_gfn;
	bool young = l->flags & TDP_MAP_ACCESSED;

	if ((l->prot & TDP_W) && !(old_flags & LEAF_W) && (!fresh || r->never_w))
		model_complain(m, "gfn %#llx (lg2 %u) has become writable", (ull)l->gfn, l->lg2);
	if (young && !(old_flags & LEAF_YOUNG_MAY) && !(fresh && r->young))
		model_complain(m, "gfn %#llx (lg2 %u) has become young", (ull)l->gfn, l->lg2);
	if (!young && (old_flags & LEAF_YOUNG_MUST))
		model_complain(m, "gfn %#llx (lg2 %u) has become old", (ull)l->gfn, l->lg2);
}

/* One leaf that is there: was it, may it be, and what do we know about it from now on? */
static void compare_leaf(struct model *m, uint32_t as_id, struct model_leaf_seen *l,
			 struct model_rules *r)
{
	uint64_t pages = (uint64_t)1 << (l->lg2 - TDP_PAGE_LG2), gfn = l->gfn, first, n, at;
	struct model_slot *s = check_leaf(m, as_id, l);
	uint8_t flags = 0;
	bool grown = false;

	if (!s)
		return;
	while (gfn < l->gfn + pages) {
		at = model_leaf_of(m, as_id, gfn, &first, &n);
		if (gfn < r->unmap_end && gfn >= r->unmap_gfn)
			model_complain(m, "gfn %#llx is still mapped", (ull)gfn);
		if (m->lg2[as_id][at]) {
			flags |= m->leaf[as_id][at].flags;
			if (n != pages && !r->any_size)
				model_complain(m, "gfn %#llx was lg2 %u and is %u", (ull)gfn,
					       m->lg2[as_id][at], l->lg2);
			grown |= n < pages;
		} else {
			if (m->kept[as_id][at] && gfn >= r->map_gfn && gfn < r->map_end)
				flags |= LEAF_YOUNG_MAY;
			if (gfn < r->map_gfn || gfn >= r->map_end)
				model_complain(m, "gfn %#llx has become mapped", (ull)gfn);
			grown |= pages > 1;
		}
		gfn = first + n;
	}
	if (r->clean && s->log != TDP_LOG_OFF && (l->flags & TDP_MAP_DIRTY) &&
	    (!r->clean_end || (l->gfn >= r->clean_gfn && l->gfn + pages <= r->clean_end)))
		model_complain(m, "gfn %#llx (lg2 %u) is still dirty", (ull)l->gfn, l->lg2);
	if (grown) {
		r->grown++;
		/* A huge page may have W again where its parts had lost it, and count as used. */
		flags |= LEAF_W | LEAF_YOUNG_MAY;
		if (!huge_is_legal(s, l->gfn, pages))
			model_complain(m, "gfn %#llx: lg2 %u is not legal here", (ull)l->gfn,
				       l->lg2);
	}
	check_known(m, l, r, flags);
	/* W once given stays in a TLB when aging takes it from the leaf: until somebody protects
	 * it. */
	l->model = (uint8_t)((l->prot & TDP_W ? LEAF_W : 0) | (flags & LEAF_W) | l->model |
			     (l->flags & TDP_MAP_ACCESSED ? LEAF_YOUNG_MAY : 0) |
			     (flags & LEAF_YOUNG_MUST));
	log_upper(s, l);
}

/* What was there and is not. */
static void compare_gaps(struct model *m, uint32_t as_id, uint64_t gfn, uint64_t end,
			 const struct model_rules *r)
{
	uint64_t at = model_at(m, gfn);
	size_t i = 0;

	for (; gfn < end; gfn++, at++) {
		while (i < m->seen_count &&
		       gfn >= m->seen[i].gfn + ((uint64_t)1 << (m->seen[i].lg2 - TDP_PAGE_LG2)))
			i++;
		if (i < m->seen_count && gfn >= m->seen[i].gfn) {
			uint64_t step = m->seen[i].gfn +
					((uint64_t)1 << (m->seen[i].lg2 - TDP_PAGE_LG2)) - gfn;

			gfn += step - 1;
			at += step - 1;
			continue;
		}
		if (m->lg2[as_id][at] && !r->may_unmap &&
		    (gfn < r->unmap_gfn || gfn >= r->unmap_end)) {
			model_complain(m, "gfn %#llx is not mapped any more (was lg2 %u)", (ull)gfn,
				       m->lg2[as_id][at]);
			return;
		}
	}
}

static void take_over(struct model *m, uint32_t as_id, uint64_t gfn, uint64_t end)
{
	uint64_t from = model_at(m, gfn);
	size_t i;

	memset(m->lg2[as_id] + from, 0, end - gfn);
	for (i = 0; i < m->seen_count; i++) {
		struct model_leaf_seen *l = &m->seen[i];
		uint64_t at = model_at(m, l->gfn), pages = (uint64_t)1 << (l->lg2 - TDP_PAGE_LG2);

		if (at == MODEL_PAGE_NONE || l->gfn < gfn || l->gfn + pages > end)
			continue;
		memset(m->lg2[as_id] + at, (int)l->lg2, pages);
		memset(m->kept[as_id] + at, 0, pages);
		m->leaf[as_id][at].pfn = l->pfn;
		m->leaf[as_id][at].flags = l->model;
	}
}

static void observe_window(struct model *m, uint32_t as_id, uint64_t gfn, uint64_t end,
			   struct model_rules *r)
{
	struct tdp_range range;
	uint64_t first, n;
	size_t i;
	int status;

	model_leaf_of(m, as_id, gfn, &first, &n);
	gfn = first;
	model_leaf_of(m, as_id, end - 1, &first, &n);
	end = first + n;
	range.start = gfn << TDP_PAGE_LG2;
	range.size = (end - gfn) << TDP_PAGE_LG2;
	m->seen_count = 0;
	status = tdp_walk(m->vm->mm, as_id, range, TDP_WALK_LEAF, see, m);
	if (status < 0 && status != TDP_ENOENT)
		model_complain(m, "tdp_walk: %s", tdp_status_name(status));
	for (i = 0; i < m->seen_count; i++) {
		if (m->seen[i].gfn < gfn ||
		    m->seen[i].gfn + ((uint64_t)1 << (m->seen[i].lg2 - TDP_PAGE_LG2)) > end) {
			model_complain(m, "leaf at gfn %#llx, lg2 %u reaches over %#llx..%#llx",
				       (ull)m->seen[i].gfn, m->seen[i].lg2, (ull)gfn, (ull)end);
			m->seen_count = i;
			break;
		}
		compare_leaf(m, as_id, &m->seen[i], r);
	}
	compare_gaps(m, as_id, gfn, end, r);
	take_over(m, as_id, gfn, end);
}

void model_observe(struct model *m, uint32_t as_id, uint64_t gfn, uint64_t end,
		   struct model_rules *rules)
{
	uint32_t i;

	for (i = 0; i < m->windows; i++) {
		const struct model_window *w = &m->win[i];
		uint64_t lo = gfn > w->gfn ? gfn : w->gfn;
		uint64_t hi = end < w->gfn + w->pages ? end : w->gfn + w->pages;

		if (lo < hi)
			observe_window(m, as_id, lo, hi, rules);
	}
}

void model_check_all(struct model *m)
{
	struct model_rules same = {0};
	uint32_t as_id;

	for (as_id = 0; as_id < MODEL_AS; as_id++)
		model_observe(m, as_id, 0, ~(uint64_t)0, &same);
}

void model_check_page(struct model *m, uint32_t as_id, uint64_t gfn)
{
	struct tdp_mapping map = {.size = (uint32_t)sizeof(map)};
	int status = tdp_translate(m->vm->mm, as_id, gfn << TDP_PAGE_LG2, &map);
	uint64_t first, pages, at;

	if (!model_mapped(m, as_id, gfn)) {
		if (status != TDP_ENOENT)
			model_complain(m, "gfn %#llx translates (%s, pa %#llx), but is not mapped",
				       (ull)gfn, tdp_status_name(status), (ull)map.pa);
		return;
	}
	at = model_leaf_of(m, as_id, gfn, &first, &pages);
	if (status != TDP_OK || map.gpa != first << TDP_PAGE_LG2 || map.lg2 != m->lg2[as_id][at] ||
	    map.pa != m->leaf[as_id][at].pfn << TDP_PAGE_LG2) {
		model_complain(
			m,
			"gfn %#llx translates to %s gpa %#llx pa %#llx lg2 %u instead of gpa "
			"%#llx pfn %#llx lg2 %u",
			(ull)gfn, tdp_status_name(status), (ull)map.gpa, (ull)map.pa, map.lg2,
			(ull)(first << TDP_PAGE_LG2), (ull)m->leaf[as_id][at].pfn,
			m->lg2[as_id][at]);
		return;
	}
	if ((map.prot & TDP_W) && !(m->leaf[as_id][at].flags & LEAF_W))
		model_complain(m, "gfn %#llx has become writable", (ull)gfn);
}

/* ---- the dirty log --------------------------------------------------------------------------- */

void model_log_start(struct model *m, struct model_slot *s, uint32_t mode, bool all_dirty)
{
	size_t words = (size_t)((s->pages + 63) / 64);

	s->must = calloc(words, sizeof(*s->must));
	s->may = calloc(words, sizeof(*s->may));
	if (!s->must || !s->may)
		abort();
	s->log = mode;
	s->fuzzy = m->stale && mode == TDP_LOG_DBIT;
	if (all_dirty) {
		uint64_t i;

		for (i = 0; i < s->pages; i++) {
			model_bit_set(s->must, i);
			model_bit_set(s->may, i);
		}
	}
}

void model_log_stop(struct model_slot *s)
{
	free(s->must);
	free(s->may);
	s->must = NULL;
	s->may = NULL;
	s->log = TDP_LOG_OFF;
}

void model_log_compare(struct model *m, struct model_slot *s, uint64_t first,
		       const uint64_t *bitmap, size_t words)
{
	size_t i;

	for (i = 0; i < words; i++) {
		uint64_t must = s->must[first / 64 + i], may = s->may[first / 64 + i];

		if (must & ~bitmap[i])
			model_complain(m, "slot %u pages %llu: written %#llx, logged only %#llx",
				       s->id, (ull)(first + 64 * i), (ull)must, (ull)bitmap[i]);
		if ((bitmap[i] & ~may) && !s->fuzzy)
			model_complain(m,
				       "slot %u pages %llu: logged %#llx, writable were only %#llx",
				       s->id, (ull)(first + 64 * i), (ull)bitmap[i], (ull)may);
	}
}

void model_log_bits_clear(struct model_slot *s, uint64_t first, uint64_t pages)
{
	uint64_t i;

	for (i = first; i < first + pages; i++) {
		s->must[i / 64] &= ~((uint64_t)1 << (i % 64));
		s->may[i / 64] &= ~((uint64_t)1 << (i % 64));
	}
}

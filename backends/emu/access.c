/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One guest access: TLB, walk, fault. Decides what stays cached, which is where architectures
 * differ.
 */
#include "emu_int.h"

static void xlate_from_slot(const struct emu_slot *s, tdp_gpa_t gpa, struct emu_xlate *x)
{
	unsigned lg2 = emu_slot_lg2(s);

	x->pa = s->pa | (gpa & (EMU_BIT(lg2) - 1));
	x->prot = s->prot;
	x->level = s->level;
	x->lg2 = (uint8_t)lg2;
	x->clean = s->clean;
	x->uncached = false;
}

static void cache_leaf(struct tdp_emu_vcpu *v, tdp_gpa_t gpa, const struct emu_xlate *x)
{
	uint64_t offset = EMU_BIT(x->lg2) - 1;
	struct emu_slot s = {
		.key = (gpa & ~offset) | x->lg2,
		.tag = v->regs.tag,
		.pa = x->pa & ~offset,
		.aux = v->root_id,
		.prot = (uint8_t)x->prot,
		.level = x->level,
		.clean = x->clean,
	};

	if (v->emu->cfg.flags & TDP_EMU_CHECK_TWINS)
		tdpi_emu_check_twins(v, &s);
	if (!(v->emu->cfg.flags & TDP_EMU_NO_TLB))
		tdpi_emu_map_put(&v->leaf, &s);
}

static bool faults_invalidate(const struct tdp_emu_vcpu *v)
{
	return v->regs.caps & TDP_CAP_FAULT_INVALIDATES;
}

/* SDM vol. 3C, 29.4.3.1: a violation drops what would translate this gpa, tables included. */
static void drop_gpa(struct tdp_emu_vcpu *v, tdp_gpa_t gpa)
{
	tdpi_emu_map_drop_addr(&v->leaf, v->regs.tag, gpa);
	tdpi_emu_map_drop_addr(&v->tables, v->regs.tag, gpa);
}

enum emu_fault tdpi_emu_translate(struct tdp_emu_vcpu *v, const struct emu_req *q,
				  struct emu_xlate *x)
{
	struct emu_walk w = {.regs = &v->regs, .vcpu = v};
	const struct emu_slot *s = tdpi_emu_map_find(&v->leaf, v->regs.tag, q->gpa);
	enum emu_fault fault;

	if (s && !(q->want & ~(uint32_t)s->prot)) {
		/* Cached clean: the first write has to find the entry again, to set Dirty in it. */
		if (!(s->clean && q->want & TDP_W)) {
			xlate_from_slot(s, q->gpa, x);
			return EMU_F_NONE;
		}
	} else if (s && !faults_invalidate(v)) {
		/* The architecture lets the fault come from the cached entry, again and again. */
		xlate_from_slot(s, q->gpa, x);
		return EMU_F_DENIED;
	} else if (s) {
		tdpi_emu_map_drop_addr(&v->leaf, v->regs.tag, q->gpa);
	}
	fault = tdpi_emu_walk(&w, q, x);
	v->refs += w.refs;
	if (fault == EMU_F_NONE || (fault == EMU_F_DENIED && !x->uncached && !faults_invalidate(v)))
		cache_leaf(v, q->gpa, x);
	else if (faults_invalidate(v) && fault != EMU_F_BUS)
		drop_gpa(v, q->gpa);
	return fault;
}

void tdpi_emu_report(const struct emu_regs *r, const struct emu_req *q, enum emu_fault fault,
		     const struct emu_xlate *x, struct tdp_emu_exit *exit)
{
	if (r->caps & TDP_CAP_EXEC_BY_MODE)
		exit->fetch = q->want & TDP_X; /* of a walk for a fetch: none, it reads */
	r->arch->report(r, q, fault, x, exit);
}

void tdpi_emu_exit_fault(struct tdp_emu_vcpu *v, const struct emu_req *q, enum emu_fault fault,
			 const struct emu_xlate *x, struct tdp_emu_exit *exit)
{
	exit->gpa = q->gpa;
	if (fault == EMU_F_BUS) {
		exit->reason = TDP_EMU_BUS_ERROR;
		return;
	}
	v->st.exits++;
	tdpi_emu_report(&v->regs, q, fault, x, exit);
}

static void exit_ok(struct tdp_emu_vcpu *v, const struct emu_xlate *x, tdp_gpa_t gpa,
		    struct tdp_emu_exit *exit)
{
	exit->reason = TDP_EMU_OK;
	exit->lg2 = x->lg2;
	exit->pa = x->pa;
	exit->gpa = gpa;
	exit->prot = x->prot & TDP_RWX;
	EMU_POINT(READ, (const void *)(uintptr_t)x->pa, 1);
	if (tdpi_emu_is_gone(&v->emu->gone, x->pa))
		tdpi_emu_violation(v, "access to a page that is gone", gpa, x->pa);
}

bool tdpi_emu_access_ok(uint32_t access)
{
	uint32_t a = access & ~TDP_EMU_USER;

	return a == TDP_R || a == TDP_W || a == TDP_X;
}

/* Both access functions begin and end alike. True: go on, the lock is held. */
static bool access_begin(struct tdp_emu_vcpu *v, tdp_gpa_t addr, struct tdp_emu_exit *exit)
{
	exit->lg2 = 0;
	exit->pa = 0;
	exit->gpa = addr;
	exit->prot = 0;
	exit->refs = 0;
	exit->fetch = 0;
	exit->reserved = 0;
	emu_lock_own(v);
	v->refs = 0;
	if (v->loaded)
		return true;
	emu_unlock(v);
	exit->reason = TDP_EMU_RELOAD;
	return false;
}

static int access_end(struct tdp_emu_vcpu *v, struct tdp_emu_exit *exit)
{
	uint32_t refs = v->refs;
	struct tdp_emu_stats *st = &v->st;

	st->accesses++;
	if (refs) {
		st->walks++;
		st->refs += refs;
		st->refs_hist[refs < TDP_EMU_REFS_MAX ? refs : TDP_EMU_REFS_MAX - 1]++;
	} else {
		/* Also when the answer from the TLB was "denied". */
		st->tlb_hits++;
	}
	emu_unlock(v);
	exit->refs = refs;
	return (int)exit->reason;
}

int tdp_emu_access(struct tdp_emu_vcpu *v, tdp_gpa_t gpa, uint32_t access,
		   struct tdp_emu_exit *exit)
{
	struct emu_req q = {
		.gpa = gpa,
		.gva = gpa, /* without paging the guest's linear address is the physical one */
		.want = emu_want(access, access & TDP_EMU_USER),
		.said = access & TDP_RWX,
		.fetch = access & TDP_X,
	};
	struct emu_xlate x;
	enum emu_fault fault;

	if (!v || !exit || !tdpi_emu_access_ok(access))
		return TDP_EINVAL;
	if (!access_begin(v, gpa, exit))
		return TDP_EMU_RELOAD;
	fault = tdpi_emu_translate(v, &q, &x);
	if (fault == EMU_F_NONE)
		exit_ok(v, &x, gpa, exit);
	else
		tdpi_emu_exit_fault(v, &q, fault, &x, exit);
	return access_end(v, exit);
}

/*
 * What the second stage must grant. On x86 the mode of a fetch is that of the linear address, the U/S
 * of the guest's tables (SDM vol. 3C, 29.3.3), and without tables all addresses are user-mode; on
 * arm64 it is the Exception level. s1: what the guest's tables permit.
 */
static uint32_t want_by(const struct tdp_emu_vcpu *v, uint32_t access, uint32_t s1)
{
	switch (v->s1_mode) {
	case TDP_EMU_S1_X86_4:
	case TDP_EMU_S1_X86_5: return emu_want(access, s1 >> EMU_S1_USER & TDP_R);
	case TDP_EMU_S1_ARM64: return emu_want(access, access & TDP_EMU_USER);
	default:
		return emu_want(access,
				access & TDP_EMU_USER || v->regs.arch->format == TDP_FMT_EPT);
	}
}

/* A combined translation that answers this access, or EMU_F_BUS for none. */
static enum emu_fault combined_hit(struct tdp_emu_vcpu *v, uint64_t gva, uint32_t access,
				   struct emu_req *q, struct emu_xlate *x)
{
	struct emu_slot *s = tdpi_emu_map_find(&v->combined, v->regs.tag, gva);
	uint32_t s1;

	if (!s)
		return EMU_F_BUS;
	q->want = want_by(v, access, s->s1);
	s1 = access & TDP_EMU_USER ? (uint32_t)s->s1 >> EMU_S1_USER : s->s1;
	q->gpa = s->aux | (gva & (EMU_BIT(emu_slot_lg2(s)) - 1));
	/* The guest's own permissions are looked up afresh: they are not what is judged here. */
	if (access & TDP_RWX & ~s1 || (s->clean && access & TDP_W))
		return EMU_F_BUS;
	xlate_from_slot(s, gva, x);
	if (!(q->want & ~(uint32_t)s->prot))
		return EMU_F_NONE;
	if (!faults_invalidate(v))
		return EMU_F_DENIED;
	tdpi_emu_map_drop_addr(&v->combined, v->regs.tag, gva);
	return EMU_F_BUS;
}

static void cache_combined(struct tdp_emu_vcpu *v, const struct emu_s1 *s1, struct emu_xlate *x)
{
	uint64_t offset;
	struct emu_slot s;

	if (s1->lg2 < x->lg2)
		x->lg2 = s1->lg2;
	if (v->emu->cfg.flags & TDP_EMU_NO_TLB)
		return;
	offset = EMU_BIT(x->lg2) - 1;
	s = (struct emu_slot){
		.key = (s1->gva & ~offset) | x->lg2,
		.tag = v->regs.tag,
		.pa = x->pa & ~offset,
		.aux = s1->gpa & ~offset,
		.prot = (uint8_t)x->prot,
		.s1 = (uint8_t)s1->prot,
		.level = x->level,
		.clean = s1->clean || x->clean,
	};
	tdpi_emu_map_put(&v->combined, &s);
}

static int stage1(struct emu_s1 *s)
{
	switch (s->vcpu->s1_mode) {
	case TDP_EMU_S1_X86_4:
		return tdpi_emu_s1_x86(s, 4);
	case TDP_EMU_S1_X86_5:
		return tdpi_emu_s1_x86(s, 5);
	default:
		return tdpi_emu_s1_arm64(s);
	}
}

int tdp_emu_access_gva(struct tdp_emu_vcpu *v, uint64_t gva, uint32_t access,
		       struct tdp_emu_exit *exit)
{
	struct emu_s1 s = {.vcpu = v, .gva = gva, .exit = exit};
	struct emu_req q = {.gva = gva, .said = access & TDP_RWX};
	struct emu_xlate x;
	enum emu_fault fault;

	if (!v || !exit || !tdpi_emu_access_ok(access))
		return TDP_EINVAL;
	if (!access_begin(v, gva, exit))
		return TDP_EMU_RELOAD;
	s.access = access & TDP_RWX;
	s.user = access & TDP_EMU_USER;
	q.fetch = access & TDP_X;
	q.want = want_by(v, access, 0);
	q.gpa = gva;
	fault = EMU_F_BUS;
	if (v->s1_mode != TDP_EMU_S1_OFF) {
		fault = combined_hit(v, gva, access, &q, &x);
		if (fault == EMU_F_BUS) {
			if (stage1(&s))
				return access_end(v, exit);
			q.gpa = s.gpa;
			q.want = want_by(v, access, s.prot);
		}
	}
	if (fault == EMU_F_BUS) {
		fault = tdpi_emu_translate(v, &q, &x);
		if (v->s1_mode != TDP_EMU_S1_OFF &&
		    (fault == EMU_F_NONE ||
		     (fault == EMU_F_DENIED && !x.uncached && !faults_invalidate(v))))
			cache_combined(v, &s, &x);
		else if (fault != EMU_F_BUS && faults_invalidate(v))
			tdpi_emu_map_drop_addr(&v->combined, v->regs.tag, gva);
	}
	if (fault == EMU_F_NONE)
		exit_ok(v, &x, q.gpa, exit);
	else
		tdpi_emu_exit_fault(v, &q, fault, &x, exit);
	return access_end(v, exit);
}

uint64_t *tdpi_emu_guest_entry(struct emu_s1 *s, tdp_gpa_t gpa, bool write)
{
	struct tdp_emu_vcpu *v = s->vcpu;
	struct emu_req q = {
		.gpa = gpa,
		.gva = s->gva,
		.want = v->regs.pt_want | (write ? TDP_W : 0),
		.said = write ? TDP_W : TDP_R,
		.table_walk = true,
		.fetch = s->access & TDP_X,
	};
	struct emu_slot page = {.key = (gpa & ~(uint64_t)0xfff) | 12, .tag = v->regs.tag}, *known;
	struct emu_xlate x;
	enum emu_fault fault = tdpi_emu_translate(v, &q, &x);
	uint64_t *word;

	if (fault != EMU_F_NONE) {
		tdpi_emu_exit_fault(v, &q, fault, &x, s->exit);
		return NULL;
	}
	if (!write)
		v->refs++;
	word = tdpi_emu_word(v, gpa, x.pa, "guest page table in a page that is gone",
			     "guest page table where no memory is");
	if (!word)
		tdpi_emu_exit_fault(v, &q, EMU_F_BUS, &x, s->exit);
	if (word && !(v->emu->cfg.flags & TDP_EMU_NO_TLB)) {
		known = tdpi_emu_map_at(&v->pt_pages, page.tag, gpa, 12);
		page.aux = EMU_BIT(x.level) | (known ? known->aux : 0);
		tdpi_emu_map_put(&v->pt_pages, &page);
	}
	return word;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's own long-mode tables (SDM vol. 3A, 4.5 to 4.8): 4 or 5 levels, 2M and 1G pages,
 * R/W, U/S, NX, Accessed and Dirty set in guest memory. The guest has CR0.WP and EFER.NXE set,
 * SMEP and SMAP clear.
 */
#include "emu_int.h"

#define G_P EMU_BIT(0)
#define G_W EMU_BIT(1)
#define G_U EMU_BIT(2)
#define G_A EMU_BIT(5)
#define G_D EMU_BIT(6)
#define G_PS EMU_BIT(7)
#define G_NX EMU_BIT(63)

/* Bits of the page-fault error code (SDM vol. 3A, 4.7). */
static int page_fault(struct emu_s1 *s, uint64_t code)
{
	if (s->access == TDP_W)
		code |= EMU_BIT(1);
	if (s->user)
		code |= EMU_BIT(2);
	if (s->access == TDP_X)
		code |= EMU_BIT(4);
	s->exit->reason = TDP_EMU_GUEST_FAULT;
	s->exit->raw.guest.address = s->gva;
	s->exit->raw.guest.code = code;
	return TDP_EMU_GUEST_FAULT;
}

static bool reserved_bits(const struct emu_s1 *s, uint64_t e, unsigned level, bool leaf)
{
	uint64_t mask = EMU_BITS(51, 12) & EMU_BITS(63, s->vcpu->regs.gpa_bits);

	if (level >= 3)
		mask |= G_PS;
	if (leaf && level)
		mask |= EMU_BITS(11 + 9 * level, 13); /* bit 12 is PAT */
	return e & mask;
}

/* W and X as R/W and NX say, for system and user. */
static uint32_t grants(uint64_t w, uint64_t u, uint64_t nx)
{
	uint32_t p = TDP_R | (w ? TDP_W : 0) | (nx ? 0 : TDP_X);

	return p | (u ? p << EMU_S1_USER : 0);
}

/*
 * Set A (and D) in a guest entry: a write to guest memory, which the second stage must permit.
 * 0: done, 1: the entry changed, walk again, negative: *exit is filled.
 */
static int set_guest_bits(struct emu_s1 *s, tdp_gpa_t at, uint64_t old, uint64_t bits)
{
	uint64_t *word;

	if (!(bits & ~old))
		return 0;
	word = tdpi_emu_guest_entry(s, at, true);
	if (!word)
		return -1;
	return !__atomic_compare_exchange_n(word, &old, old | bits, false, __ATOMIC_ACQ_REL,
					    __ATOMIC_ACQUIRE);
}

/* 0 or a reason, -1: walk again. */
static int walk_guest(struct emu_s1 *s, unsigned levels)
{
	tdp_gpa_t table = s->vcpu->s1_root & EMU_BITS(51, 12);
	uint64_t w = ~(uint64_t)0, u = ~(uint64_t)0, nx = 0;
	unsigned level = levels - 1;

	for (;; level--) {
		unsigned shift = 12 + 9 * level;
		tdp_gpa_t at = table + 8 * (s->gva >> shift & 511);
		uint64_t *word = tdpi_emu_guest_entry(s, at, false), e, bits;
		bool leaf;
		int ret;

		if (!word)
			return (int)s->exit->reason;
		e = __atomic_load_n(word, __ATOMIC_ACQUIRE);
		leaf = level == 0 || (level <= 2 && e & G_PS);
		if (!(e & G_P))
			return page_fault(s, 0);
		if (reserved_bits(s, e, level, leaf))
			return page_fault(s, EMU_BIT(0) | EMU_BIT(3));
		w &= e & G_W;
		u &= e & G_U;
		nx |= e & G_NX;
		bits = G_A;
		if (leaf) {
			s->prot = grants(w ? 1 : 0, u ? 1 : 0, nx);
			if (s->access & ~(s->user ? s->prot >> EMU_S1_USER : s->prot))
				return page_fault(s, EMU_BIT(0));
			bits |= s->access == TDP_W ? G_D : 0;
		}
		ret = set_guest_bits(s, at, e, bits);
		if (ret)
			return ret > 0 ? -1 : (int)s->exit->reason;
		table = e & EMU_BITS(51, 12);
		if (leaf) {
			s->lg2 = (uint8_t)shift;
			s->clean = !((e | bits) & G_D);
			s->gpa = (table & ~(EMU_BIT(shift) - 1)) | (s->gva & (EMU_BIT(shift) - 1));
			return 0;
		}
	}
}

int tdpi_emu_s1_x86(struct emu_s1 *s, unsigned levels)
{
	unsigned unused = 64 - (12 + 9 * levels);
	int ret;

	/* Not canonical: no page fault but #GP, which has no code of its own here. */
	if ((uint64_t)((int64_t)(s->gva << unused) >> unused) != s->gva) {
		s->exit->reason = TDP_EMU_GUEST_FAULT;
		s->exit->raw.guest.address = s->gva;
		s->exit->raw.guest.code = ~(uint64_t)0;
		return TDP_EMU_GUEST_FAULT;
	}
	do {
		ret = walk_guest(s, levels);
	} while (ret < 0);
	return ret;
}

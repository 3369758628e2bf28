/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's own VMSAv8-64 stage 1 (Arm DDI 0487, D8.3 to D8.5): TTBR0_EL1, 4 KiB granule, 48
 * bits, blocks, AF by software (TCR_EL1.HA clear), AP, PXN, UXN and their hierarchical forms.
 * SCTLR_EL1.WXN and PAN clear.
 */
#include "emu_int.h"

#define A_VALID EMU_BIT(0)
#define A_TABLE EMU_BIT(1)
#define A_EL0 EMU_BIT(6)
#define A_RO EMU_BIT(7)
#define A_AF EMU_BIT(10)
#define A_PXN EMU_BIT(53)
#define A_UXN EMU_BIT(54)
#define A_PXN_TABLE EMU_BIT(59)
#define A_UXN_TABLE EMU_BIT(60)
#define A_NO_EL0_TABLE EMU_BIT(61)
#define A_RO_TABLE EMU_BIT(62)

#define FSC_TRANSLATION 0x04u
#define FSC_ACCESS_FLAG 0x08u
#define FSC_PERMISSION 0x0cu

/* ESR_EL1: the abort is taken to EL1, from EL0 or from EL1 itself. */
static int guest_abort(struct emu_s1 *s, uint64_t fsc, unsigned level)
{
	uint64_t ec = s->access == TDP_X ? 0x20 : 0x24;

	if (!s->user)
		ec++;
	s->exit->reason = TDP_EMU_GUEST_FAULT;
	s->exit->raw.guest.address = s->gva;
	s->exit->raw.guest.code = ec << 26 | EMU_BIT(25) | fsc | (3 - level);
	if (s->access == TDP_W)
		s->exit->raw.guest.code |= EMU_BIT(6);
	return TDP_EMU_GUEST_FAULT;
}

/* What a leaf grants, with the limits that the tables above it set. */
static uint32_t grants(uint64_t e, uint64_t limits)
{
	bool el0 = e & A_EL0 && !(limits & A_NO_EL0_TABLE);
	bool ro = e & A_RO || limits & A_RO_TABLE;
	bool pxn = e & A_PXN || limits & A_PXN_TABLE;
	bool uxn = e & A_UXN || limits & A_UXN_TABLE;
	uint32_t rw = TDP_R | (ro ? 0 : TDP_W), system = rw, user = el0 ? rw : 0;

	/* What EL0 may write, EL1 may never execute. */
	if (!pxn && !(el0 && !ro))
		system |= TDP_X;
	/* EL0 may execute what it cannot read. */
	if (!uxn)
		user |= TDP_X;
	return system | user << EMU_S1_USER;
}

int tdpi_emu_s1_arm64(struct emu_s1 *s)
{
	tdp_gpa_t table = s->vcpu->s1_root & EMU_BITS(47, 12);
	uint64_t limits = 0;

	if (s->gva >> 48)
		return guest_abort(s, FSC_TRANSLATION, 3);
	for (unsigned level = 3;; level--) {
		unsigned shift = 12 + 9 * level;
		tdp_gpa_t at = table + 8 * (s->gva >> shift & 511);
		uint64_t *word = tdpi_emu_guest_entry(s, at, false);
		uint64_t e, offset = EMU_BIT(shift) - 1;

		if (!word)
			return (int)s->exit->reason;
		e = __atomic_load_n(word, __ATOMIC_ACQUIRE);
		if (!(e & A_VALID) || (!(e & A_TABLE) && (level == 0 || level == 3)))
			return guest_abort(s, FSC_TRANSLATION, level);
		if (level && e & A_TABLE) {
			limits |= e;
			table = e & EMU_BITS(47, 12);
			continue;
		}
		if (!(e & A_AF))
			return guest_abort(s, FSC_ACCESS_FLAG, level);
		s->prot = grants(e, limits);
		if (s->access & ~(s->user ? s->prot >> EMU_S1_USER : s->prot))
			return guest_abort(s, FSC_PERMISSION, level);
		s->lg2 = (uint8_t)shift;
		s->clean = false;
		s->gpa = (e & EMU_BITS(47, 12) & ~offset) | (s->gva & offset);
		return 0;
	}
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AMD nested paging as the APM has it: vol. 2, 5.3 and 5.4 (long-mode tables), 15.25.5 and
 * 15.25.6 (nested walk, EXITINFO1). The host has EFER.NXE set. All nested accesses are user
 * accesses, so U must be set at every level; A and D are always set by the hardware.
 */
#include "emu_int.h"

#define NPT_P EMU_BIT(0)
#define NPT_W EMU_BIT(1)
#define NPT_U EMU_BIT(2)
#define NPT_A EMU_BIT(5)
#define NPT_D EMU_BIT(6)
#define NPT_PS EMU_BIT(7)
#define NPT_NX EMU_BIT(63)

static void npt_caps(struct tdp_backend_caps *caps)
{
	caps->flags = TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY | TDP_CAP_FAULT_INVALIDATES |
		      TDP_CAP_RANGE_FLUSH | TDP_CAP_WALKS_TABLES;
	caps->leaf_levels = 0x7;
	caps->gpa_bits = 52;
	caps->pa_bits = 52;
	caps->max_levels = 5;
}

static int npt_load(struct emu_regs *r, const uint64_t hw[2], const struct tdp_backend_caps *caps)
{
	uint64_t addr = EMU_BITS(51, 12) & ~EMU_BITS(63, r->output_bits);
	unsigned levels = hw[1] ? 5 : 4; /* 1: CR4.LA57 of the host is set */

	/* Bits 3 and 4 are PWT and PCD; the rest below the address must be zero. */
	if (hw[0] & ~(addr | 0x18) || hw[1] > 1 || levels > caps->max_levels)
		return TDP_EINVAL;
	r->root = hw[0] & addr;
	/* The vCPU keeps its ASID when nCR3 changes: no part of the root is in the tag. */
	r->tag = 0;
	r->ad = EMU_HW_A | EMU_HW_D;
	r->start = (uint8_t)(levels - 1);
	r->index_lg2 = 9;
	r->input_bits = levels == 4 ? 48 : 52;
	/* Walks of guest tables are user writes at the nested level (15.25.6). */
	r->pt_want = TDP_R | TDP_W;
	return TDP_OK;
}

static enum emu_kind npt_decode(const struct emu_regs *r, uint64_t raw, unsigned level,
				struct emu_entry *e)
{
	bool leaf = level == 0 || (level <= 2 && raw & NPT_PS);
	uint64_t reserved = EMU_BITS(51, 12) & EMU_BITS(63, r->output_bits);

	if (!(raw & NPT_P))
		return EMU_ABSENT;
	if (level >= 3)
		reserved |= EMU_BITS(8, 7);
	if (leaf && level)
		reserved |= EMU_BITS(11 + 9 * level, 13); /* bit 12 is PAT */
	if (raw & reserved || (leaf && !(r->leaf_levels >> level & 1)))
		return EMU_RESERVED;
	/* Without U a nested access may do nothing at all. */
	e->prot = raw & NPT_U ? TDP_R | (raw & NPT_W ? TDP_W : 0) | (raw & NPT_NX ? 0 : TDP_X) : 0;
	e->pa = raw & EMU_BITS(51, 12);
	if (leaf && level)
		e->pa &= ~EMU_BIT(12);
	e->set_a = NPT_A & ~raw;
	if (leaf)
		e->set_d = NPT_D & ~raw;
	return leaf ? EMU_LEAF : EMU_TABLE;
}

static void npt_report(const struct emu_regs *r, const struct emu_req *q, enum emu_fault fault,
		       const struct emu_xlate *x, struct tdp_emu_exit *exit)
{
	uint64_t code = EMU_BIT(2);

	(void)r;
	(void)x;
	if (fault != EMU_F_ABSENT)
		code |= EMU_BIT(0);
	if (fault == EMU_F_RESERVED)
		code |= EMU_BIT(3);
	if (q->table_walk) {
		code |= EMU_BIT(33) | EMU_BIT(1);
	} else {
		code |= EMU_BIT(32);
		if (q->said & TDP_W)
			code |= EMU_BIT(1);
		if (q->said & TDP_X)
			code |= EMU_BIT(4);
	}
	exit->reason = TDP_EMU_NPF;
	exit->raw.npf.exitinfo1 = code;
	exit->raw.npf.exitinfo2 = q->gpa;
}

const struct emu_arch tdpi_emu_npt = {
	.format = TDP_FMT_NPT,
	.caps = npt_caps,
	.load = npt_load,
	.decode = npt_decode,
	.report = npt_report,
};

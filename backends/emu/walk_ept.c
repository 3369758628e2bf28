/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Intel EPT as the SDM has it: vol. 3C, 25.6.11 (EPTP), 29.3.2 (tables 29-1 to 29-7), 29.3.3
 * (misconfigurations and violations), table 28-7 (exit qualification). Mode-based execute control is
 * on if the machine has TDP_CAP_EXEC_BY_MODE. Not in this machine: supervisor shadow-stack control,
 * sub-page permissions, paging-write, #VE, advanced information about violations.
 */
#include "emu_int.h"

#define EPT_R EMU_BIT(0)
#define EPT_W EMU_BIT(1)
#define EPT_X EMU_BIT(2)
#define EPT_BIG EMU_BIT(7)
#define EPT_A EMU_BIT(8)
#define EPT_D EMU_BIT(9)
#define EPT_XU EMU_BIT(10) /* mode-based: user-mode addresses; bit 2: supervisor-mode */

static void ept_caps(struct tdp_backend_caps *caps)
{
	caps->flags = TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY | TDP_CAP_EXEC_ONLY |
		      TDP_CAP_FAULT_INVALIDATES | TDP_CAP_RANGE_FLUSH | TDP_CAP_WALKS_TABLES;
	caps->leaf_levels = 0x7;
	caps->gpa_bits = 52;
	caps->pa_bits = 52;
	caps->max_levels = 5;
}

static int ept_load(struct emu_regs *r, const uint64_t hw[2], const struct tdp_backend_caps *caps)
{
	uint64_t eptp = hw[0], type = eptp & 7, length = (eptp >> 3 & 7) + 1;
	uint64_t addr = EMU_BITS(51, 12) & ~EMU_BITS(63, r->output_bits);

	/* What VM entry checks (26.2.1.1): memory type UC or WB, length 4 or 5, reserved bits. */
	if ((type != 0 && type != 6) || length < 4 || length > caps->max_levels || hw[1])
		return TDP_EINVAL;
	if (eptp & ~(addr | 0x7f))
		return TDP_EINVAL;
	if (eptp & EMU_BIT(6)) {
		if (!(r->caps & TDP_CAP_HW_DIRTY))
			return TDP_EINVAL;
		r->ad = EMU_HW_A | EMU_HW_D;
	}
	r->root = eptp & addr;
	/* EP4TA (29.4.1): bits 51:12 of EPTP and nothing else. */
	r->tag = eptp & EMU_BITS(51, 12);
	r->start = (uint8_t)(length - 1);
	r->index_lg2 = 9;
	r->input_bits = length == 4 ? 48 : 52;
	/* With A/D on, accesses to guest paging structures count as writes (29.3.3.2). */
	r->pt_want = r->ad ? TDP_R | TDP_W : TDP_R;
	return TDP_OK;
}

static bool ept_leaf_ok(const struct emu_regs *r, uint64_t raw, unsigned level)
{
	unsigned type = (unsigned)(raw >> 3 & 7);

	if (level && raw & EMU_BITS(11 + 9 * level, 12))
		return false;
	/* Types 2, 3 and 7 do not exist. */
	return (r->leaf_levels >> level & 1) && type != 2 && type != 3 && type != 7;
}

static enum emu_kind ept_decode(const struct emu_regs *r, uint64_t raw, unsigned level,
				struct emu_entry *e)
{
	bool leaf = level == 0 || (level <= 2 && raw & EPT_BIG);
	bool by_mode = r->caps & TDP_CAP_EXEC_BY_MODE;

	if (!(raw & (EPT_R | EPT_W | EPT_X | (by_mode ? EPT_XU : 0))))
		return EMU_ABSENT;
	/* What is left beside W is X, in one mode or the other. */
	if (!(raw & EPT_R) && (raw & EPT_W || !(r->caps & TDP_CAP_EXEC_ONLY)))
		return EMU_RESERVED;
	if (raw & EMU_BITS(51, 12) & EMU_BITS(63, r->output_bits))
		return EMU_RESERVED;
	if (leaf ? !ept_leaf_ok(r, raw, level) : (raw & EMU_BITS(7, 3)) != 0)
		return EMU_RESERVED;
	e->prot = (raw & EPT_R ? TDP_R : 0) | (raw & EPT_W ? TDP_W : 0) |
		  (raw & EPT_X ? TDP_XS : 0) | (raw & (by_mode ? EPT_XU : EPT_X) ? TDP_XU : 0);
	e->pa = raw & EMU_BITS(51, 12);
	if (r->ad & EMU_HW_A)
		e->set_a = EPT_A & ~raw;
	if (leaf && r->ad & EMU_HW_D)
		e->set_d = EPT_D & ~raw;
	return leaf ? EMU_LEAF : EMU_TABLE;
}

static void ept_report(const struct emu_regs *r, const struct emu_req *q, enum emu_fault fault,
		       const struct emu_xlate *x, struct tdp_emu_exit *exit)
{
	uint64_t qual = 0;

	exit->raw.ept.gpa = q->gpa;
	exit->raw.ept.qualification = 0;
	exit->raw.ept.gla = 0;
	if (fault == EMU_F_RESERVED) {
		exit->reason = TDP_EMU_EPT_MISCONFIG;
		return;
	}
	exit->reason = TDP_EMU_EPT_VIOLATION;
	if (q->table_walk && r->ad)
		qual |= 3; /* reported as read and write, whatever it was */
	else
		qual |= q->said & TDP_X ? 4 : q->said;
	if (fault == EMU_F_DENIED) {
		qual |= x->prot & TDP_R ? EMU_BIT(3) : 0;
		qual |= x->prot & TDP_W ? EMU_BIT(4) : 0;
		qual |= x->prot & TDP_XS ? EMU_BIT(5) : 0;
		/* Without mode-based execute bit 6 is undefined; here it is 0. */
		if (r->caps & TDP_CAP_EXEC_BY_MODE)
			qual |= x->prot & TDP_XU ? EMU_BIT(6) : 0;
	}
	qual |= EMU_BIT(7);
	if (!q->table_walk)
		qual |= EMU_BIT(8);
	exit->raw.ept.qualification = qual;
	exit->raw.ept.gla = q->gva;
}

const struct emu_arch tdpi_emu_ept = {
	.format = TDP_FMT_EPT,
	.caps = ept_caps,
	.load = ept_load,
	.decode = ept_decode,
	.report = ept_report,
};

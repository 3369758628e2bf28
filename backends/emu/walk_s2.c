/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arm VMSAv8-64 stage 2, 4 KiB granule, without LPA2: DDI 0487, D8.2 (translation process), D8.3
 * (descriptors), D8.4 and D8.5 (permissions, hardware update of AF and dirty state), VTCR_EL2,
 * VTTBR_EL2, ESR_EL2. FEAT_XNX is there if the machine has TDP_CAP_EXEC_BY_MODE. The contiguous bit is
 * a hint that this machine does not take.
 */
#include "emu_int.h"

#define S2_VALID EMU_BIT(0)
#define S2_TABLE EMU_BIT(1)
#define S2_AP_R EMU_BIT(6)
#define S2_AP_W EMU_BIT(7)
#define S2_AF EMU_BIT(10)
#define S2_DBM EMU_BIT(51)

#define VTCR_RES1 EMU_BIT(31)
#define VTCR_VS EMU_BIT(19)
#define VTCR_HA EMU_BIT(21)
#define VTCR_HD EMU_BIT(22)
/* T0SZ SL0 IRGN0 ORGN0 SH0 TG0 PS VS HA HD HWU NSW NSA; no DS, SL2 and others in this machine. */
#define VTCR_KNOWN (EMU_BITS(19, 0) | VTCR_HA | VTCR_HD | EMU_BITS(31, 25))

static void s2_caps(struct tdp_backend_caps *caps)
{
	caps->flags = TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY | TDP_CAP_EXEC_ONLY |
		      TDP_CAP_RANGE_FLUSH | TDP_CAP_WALKS_TABLES;
	caps->leaf_levels = 0x7;
	caps->gpa_bits = 48;
	caps->pa_bits = 48;
	caps->max_levels = 4;
}

static int s2_load(struct emu_regs *r, const uint64_t hw[2], const struct tdp_backend_caps *caps)
{
	static const uint8_t ps_bits[8] = {32, 36, 40, 42, 44, 48, 0, 0};
	uint64_t vttbr = hw[0], vtcr = hw[1], base;
	unsigned input = 64 - (unsigned)(vtcr & 0x3f), sl0 = (unsigned)(vtcr >> 6 & 3);
	unsigned ps = ps_bits[vtcr >> 16 & 7], bits;

	/* TG0 must say 4K; SL0 3 needs FEAT_TTST. */
	if (vtcr & ~VTCR_KNOWN || !(vtcr & VTCR_RES1) || vtcr >> 14 & 3 || sl0 == 3 || !ps)
		return TDP_EINVAL;
	if (input > caps->gpa_bits || input > 48)
		return TDP_EINVAL;
	r->start = (uint8_t)(sl0 + 1); /* SL0 0, 1, 2: start at level 2, 1, 0 */
	/* What the first level resolves: one bit or more, at most four more than a table. */
	bits = input - (12 + 9 * (unsigned)r->start);
	if (input <= 12 + 9 * (unsigned)r->start || bits > 13)
		return TDP_EINVAL;
	if (ps < r->output_bits)
		r->output_bits = (uint8_t)ps;
	base = vttbr & EMU_BITS(47, 1); /* bit 0 is CnP */
	if (base & (EMU_BIT(bits + 3 < 6 ? 6 : bits + 3) - 1) || base >> r->output_bits)
		return TDP_EINVAL;
	if ((vtcr & VTCR_HA && !(r->caps & TDP_CAP_HW_ACCESSED)) ||
	    (vtcr & VTCR_HD && !(vtcr & VTCR_HA && r->caps & TDP_CAP_HW_DIRTY)))
		return TDP_EINVAL;
	if (!(vtcr & VTCR_VS) && vttbr >> 56)
		return TDP_EINVAL;
	r->ad = (vtcr & VTCR_HA ? EMU_HW_A : 0) | (vtcr & VTCR_HD ? EMU_HW_D : 0);
	r->root = base;
	r->tag = vttbr >> 48;
	r->index_lg2 = 9;
	r->input_bits = (uint8_t)input;
	r->pt_want = TDP_R;
	r->bbm = caps->bbm_level < 2;
	return TDP_OK;
}

/* XN[1:0], bits 54:53: 00 all, 01 EL0 only, 10 none, 11 EL1 only. Without FEAT_XNX 53 is nothing. */
static uint32_t s2_exec(const struct emu_regs *r, uint64_t raw)
{
	if (!(r->caps & TDP_CAP_EXEC_BY_MODE))
		return raw & EMU_BIT(54) ? 0 : TDP_X;
	switch (raw >> 53 & 3) {
	case 0: return TDP_X;
	case 1: return TDP_XU;
	case 2:
		return 0;
	default: return TDP_XS;
	}
}

static enum emu_kind s2_decode(const struct emu_regs *r, uint64_t raw, unsigned level,
			       struct emu_entry *e)
{
	bool leaf = level == 0 || !(raw & S2_TABLE);

	/* Blocks exist at Arm levels 1 and 2 (here 2 and 1); 0b01 at the last is invalid. */
	if (!(raw & S2_VALID) || (level == 0 && !(raw & S2_TABLE)) || (leaf && level == 3))
		return EMU_ABSENT;
	if (leaf && !(r->leaf_levels >> level & 1))
		return EMU_ABSENT;
	e->pa = raw & EMU_BITS(47, 12);
	if (leaf)
		e->pa &= ~(EMU_BIT(12 + 9 * level) - 1); /* low bits of a block are not address */
	if (e->pa >> r->output_bits)
		return EMU_SIZE;
	if (!leaf)
		return EMU_TABLE; /* stage-2 tables carry no permissions and no AF */
	e->prot = s2_exec(r, raw);
	if (raw & S2_AP_R)
		e->prot |= TDP_R;
	if (raw & S2_AP_W)
		e->prot |= TDP_W;
	if (r->ad & EMU_HW_D && raw & S2_DBM) {
		e->prot |= TDP_W;
		e->set_d = S2_AP_W & ~raw;
	}
	if (r->ad & EMU_HW_A)
		e->set_a = S2_AF & ~raw;
	else
		e->af_fault = !(raw & S2_AF);
	return EMU_LEAF;
}

static void s2_report(const struct emu_regs *r, const struct emu_req *q, enum emu_fault fault,
		      const struct emu_xlate *x, struct tdp_emu_exit *exit)
{
	uint64_t kind, ec = q->fetch ? 0x20 : 0x24, level = 3u - x->level;

	switch (fault) {
	case EMU_F_SIZE:
		kind = 0x00;
		break;
	case EMU_F_AF:
		kind = 0x08;
		break;
	case EMU_F_DENIED:
		kind = 0x0c;
		break;
	default:
		kind = 0x04;
		/* An input beyond the IPA size is a level 0 fault, wherever walks start. */
		if (q->gpa >> r->input_bits)
			level = 0;
		break;
	}
	exit->reason = TDP_EMU_S2_ABORT;
	exit->raw.s2.esr = ec << 26 | EMU_BIT(25) | kind | level;
	if (q->table_walk)
		exit->raw.s2.esr |= EMU_BIT(7);
	if (q->said & TDP_W)
		exit->raw.s2.esr |= EMU_BIT(6);
	/*
	 * The architecture leaves HPFAR_EL2 unknown for a permission fault that is not on a
	 * stage-1 walk; this machine fills it always, as its vCPU has no AT instruction to ask
	 * with.
	 */
	exit->raw.s2.hpfar = (q->gpa & EMU_BITS(51, 12)) >> 8;
	exit->raw.s2.far = q->gva;
}

const struct emu_arch tdpi_emu_s2 = {
	.format = TDP_FMT_S2_4K,
	.caps = s2_caps,
	.load = s2_load,
	.decode = s2_decode,
	.report = s2_report,
};

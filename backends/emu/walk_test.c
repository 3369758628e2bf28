/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hostile test format: 5 levels of 16 entries, leaves at levels 0, 1 and 3, every field where
 * no real architecture has it, "present" and "readable" inverted, each word rotated by its level.
 * Written from the definition, not from lib/fmt/test.h.
 */
#include "emu_int.h"

#define T_ABSENT EMU_BIT(63)
#define T_DENY_R EMU_BIT(2)
#define T_W EMU_BIT(3)
#define T_XS EMU_BIT(4)
#define T_D EMU_BIT(5)
#define T_A EMU_BIT(6)
#define T_XU EMU_BIT(19)
#define T_X (T_XS | T_XU)
#define T_RESERVED EMU_BITS(62, 57)
#define T_PA EMU_BITS(55, 20)
#define T_LEAF_LEVELS 0xbu

static void test_caps(struct tdp_backend_caps *caps)
{
	caps->flags = TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY | TDP_CAP_EXEC_ONLY |
		      TDP_CAP_RANGE_FLUSH | TDP_CAP_WALKS_TABLES;
	caps->leaf_levels = T_LEAF_LEVELS;
	caps->gpa_bits = 32;
	caps->pa_bits = 48;
	caps->max_levels = 5;
}

static int test_load(struct emu_regs *r, const uint64_t hw[2], const struct tdp_backend_caps *caps)
{
	(void)caps;
	if ((hw[1] & 0xff) != 5 || hw[1] >> 10 || hw[0] & 0xfff || hw[0] >> r->output_bits)
		return TDP_EINVAL;
	r->ad = (hw[1] & EMU_BIT(8) ? EMU_HW_A : 0) | (hw[1] & EMU_BIT(9) ? EMU_HW_D : 0);
	if ((r->ad & EMU_HW_A && !(r->caps & TDP_CAP_HW_ACCESSED)) ||
	    (r->ad & EMU_HW_D && !(r->ad & EMU_HW_A && r->caps & TDP_CAP_HW_DIRTY)))
		return TDP_EINVAL;
	r->root = hw[0];
	r->tag = 0;
	r->start = 4;
	r->index_lg2 = 4;
	r->input_bits = 32;
	r->pt_want = TDP_R;
	r->bbm = true;
	return TDP_OK;
}

static uint64_t rotate_left(uint64_t v, unsigned n)
{
	return v << n | v >> (64 - n); /* 0 < n < 64 */
}

static enum emu_kind test_leaf(const struct emu_regs *r, uint64_t v, unsigned level, unsigned turn,
			       struct emu_entry *e)
{
	if (!(r->leaf_levels & T_LEAF_LEVELS & EMU_BIT(level)))
		return EMU_RESERVED;
	if (e->pa & (EMU_BIT(12 + 4 * level) - 1) || (v >> 13 & 7) > 3)
		return EMU_RESERVED;
	if (v & T_DENY_R && (v & T_W || (v & T_X && !(r->caps & TDP_CAP_EXEC_ONLY))))
		return EMU_RESERVED;
	/* A machine that does not tell modes apart wants to be told the same of both. */
	if (v & T_X && (v & T_X) != T_X && !(r->caps & TDP_CAP_EXEC_BY_MODE))
		return EMU_RESERVED;
	e->prot = (v & T_DENY_R ? 0 : TDP_R) | (v & T_W ? TDP_W : 0) | (v & T_XS ? TDP_XS : 0) |
		  (v & T_XU ? TDP_XU : 0);
	if (r->ad & EMU_HW_A && !(v & T_A))
		e->set_a = rotate_left(T_A, turn);
	if (r->ad & EMU_HW_D && !(v & T_D))
		e->set_d = rotate_left(T_D, turn);
	return EMU_LEAF;
}

static enum emu_kind test_decode(const struct emu_regs *r, uint64_t raw, unsigned level,
				 struct emu_entry *e)
{
	unsigned turn = 3 + 7 * level;
	uint64_t v = rotate_left(raw, 64 - turn);

	if (v & T_ABSENT)
		return EMU_ABSENT;
	e->pa = (v & T_PA) >> 20 << 12;
	if (v & T_RESERVED || e->pa >> r->output_bits)
		return EMU_RESERVED;
	if ((v & 3) == 2)
		return test_leaf(r, v, level, turn, e);
	if ((v & 3) != 1 || level == 0 || v & ~(T_PA | 3))
		return EMU_RESERVED;
	return EMU_TABLE;
}

static void test_report(const struct emu_regs *r, const struct emu_req *q, enum emu_fault fault,
			const struct emu_xlate *x, struct tdp_emu_exit *exit)
{
	(void)r;
	(void)x;
	exit->reason = TDP_EMU_TEST_FAULT;
	exit->raw.test.gpa = q->gpa;
	exit->raw.test.code = q->said & TDP_X ? 4 : q->said;
	if (fault == EMU_F_DENIED)
		exit->raw.test.code |= EMU_BIT(3);
	if (fault == EMU_F_RESERVED)
		exit->raw.test.code |= EMU_BIT(4);
}

const struct emu_arch tdpi_emu_test = {
	.format = TDP_FMT_TEST,
	.caps = test_caps,
	.load = test_load,
	.decode = test_decode,
	.report = test_report,
};

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The check that no two cached translations of one gpa disagree (TDP_EMU_CHECK_TWINS). All vCPUs
 * then share one lock, which the caller holds, so their maps and the list of them stand still.
 */
#include "emu_int.h"

struct twin_check {
	struct tdp_emu_vcpu *v;
	const struct emu_slot *fill;
};

static bool compare(void *arg, const struct emu_slot *s)
{
	struct twin_check *c = arg;
	uint64_t a = emu_slot_start(c->fill), b = emu_slot_start(s), from = a > b ? a : b;

	/* Translations of another root are another address space, whatever the tag says. */
	if (s->aux != c->fill->aux)
		return false;
	if (c->fill->pa + (from - a) != s->pa + (from - b)) {
		tdpi_emu_violation(c->v, "two translations of one address at once", from,
				   c->fill->pa + (from - a));
		return true;
	}
	if (c->v->regs.bbm && emu_slot_lg2(s) != emu_slot_lg2(c->fill)) {
		tdpi_emu_violation(c->v, "two sizes of one address at once, without a break", from,
				   c->fill->pa + (from - a));
		return true;
	}
	return false;
}

void tdpi_emu_check_twins(struct tdp_emu_vcpu *v, const struct emu_slot *fill)
{
	struct twin_check c = {.v = v, .fill = fill};
	uint64_t start = emu_slot_start(fill), last = start + (EMU_BIT(emu_slot_lg2(fill)) - 1);

	for (struct tdp_emu_vcpu *u = v->emu->vcpus; u; u = u->next) {
		if (!u->loaded || u->root_id != v->root_id)
			continue;
		if (tdpi_emu_map_overlap(&u->leaf, &fill->tag, start, last, compare, &c))
			return;
	}
}

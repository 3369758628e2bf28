/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Walks of tables that are not this machine's memory: read by a callback, nothing cached, no bit
 * set.
 */
#include <string.h>

#include "emu_int.h"

int tdp_emu_walk_foreign(uint32_t format, const uint64_t hw[2], uint32_t caps_flags,
			 int (*read)(void *arg, tdp_pa_t pa, uint64_t *entry), void *arg,
			 tdp_gpa_t gpa, uint32_t access, struct tdp_emu_exit *exit)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct emu_walk w = {.read = read, .read_arg = arg};
	struct emu_req q = {
		.gpa = gpa,
		.gva = gpa,
		.want = emu_want(access, access & TDP_EMU_USER),
		.said = access & TDP_RWX,
		.fetch = access & TDP_X,
	};
	struct tdp_backend_caps caps;
	enum emu_fault fault;
	struct emu_regs regs;
	struct emu_xlate x;
	int ret;

	if (!hw || !read || !exit || !tdpi_emu_access_ok(access))
		return TDP_EINVAL;
	ret = tdpi_emu_caps(&cfg, format, &caps);
	if (ret)
		return ret;
	caps.flags = caps_flags;
	ret = tdpi_emu_load_regs(&caps, format, hw, &regs);
	if (ret)
		return ret;
	w.regs = &regs;
	memset(exit, 0, sizeof(*exit));
	exit->gpa = gpa;
	fault = tdpi_emu_walk(&w, &q, &x);
	exit->refs = w.refs;
	if (fault == EMU_F_BUS) {
		exit->reason = TDP_EMU_BUS_ERROR;
	} else if (fault != EMU_F_NONE) {
		tdpi_emu_report(&regs, &q, fault, &x, exit);
	} else {
		exit->lg2 = x.lg2;
		exit->pa = x.pa;
		exit->prot = x.prot & TDP_RWX;
	}
	return (int)exit->reason;
}

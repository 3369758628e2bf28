/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a raw exit to a struct tdp_fault, by the library's own public decoders: this is the one
 * place where the walker meets the library, and what it hands over is only what hardware would
 * report.
 */
#include <tdp/decode.h>

#include "emu_int.h"

static int decode(const struct tdp_emu_exit *exit, struct tdp_fault *fault)
{
	switch (exit->reason) {
	case TDP_EMU_EPT_VIOLATION:
		return tdp_decode_ept(exit->raw.ept.qualification, exit->raw.ept.gpa,
				      exit->raw.ept.gla, fault);
	case TDP_EMU_EPT_MISCONFIG:
		return tdp_decode_ept_misconfig(exit->raw.ept.gpa, fault);
	case TDP_EMU_NPF:
		return tdp_decode_npf(exit->raw.npf.exitinfo1, exit->raw.npf.exitinfo2, fault);
	case TDP_EMU_S2_ABORT:
		return tdp_decode_s2(exit->raw.s2.esr, exit->raw.s2.hpfar, exit->raw.s2.far, fault);
	case TDP_EMU_TEST_FAULT:
		return tdp_decode_test(exit->raw.test.code, exit->raw.test.gpa, fault);
	default:
		return TDP_EINVAL;
	}
}

int tdp_emu_decode(const struct tdp_emu_exit *exit, struct tdp_fault *fault)
{
	int ret;

	if (!exit || !fault)
		return TDP_EINVAL;
	ret = decode(exit, fault);
	/* The report says "a fetch"; in which mode the guest is, every VMM can find out. */
	if (!ret && exit->fetch && fault->access & TDP_X)
		fault->access = (fault->access & ~TDP_X) | exit->fetch;
	return ret;
}

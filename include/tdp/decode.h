/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file decode.h
 * What hardware reports about a second-stage fault, turned into a struct tdp_fault.
 *
 * Pure functions. Context: any. Sleeps: no. Each sets size, flags, gpa, access and gva of *fault.
 * Fails: TDP_EINVAL for a report that is not a second-stage fault; *fault is then not written.
 *
 * A fetch is reported as TDP_X: these reports do not tell the guest's mode. Where execution is by mode
 * (TDP_CAP_EXEC_BY_MODE) the caller replaces a TDP_X in fault->access by the one of TDP_XS and TDP_XU that
 * the guest needed, before tdp_fault(): on arm64 by SPSR_EL2.M (EL0 or not); with EPT by the U/S bits of the
 * guest's paging structures (not by its CPL; without paging all is user-mode), which bit 9 of the
 * qualification says beside bits 7 and 8 if IA32_VMX_EPT_VPID_CAP has bit 22.
 */
#ifndef TDP_DECODE_H
#define TDP_DECODE_H

#include <tdp/tdp.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * EPT violation (Intel SDM vol. 3C, table 28-7 "Exit Qualification for EPT Violations"): qualification,
 * guest-physical address, guest-linear address (used when bit 7 says it is valid). Bit 6, undefined where
 * execution is not by mode, is not looked at: a leaf that grants user execution alone is not said to be PRESENT.
 */
TDP_API int tdp_decode_ept(uint64_t qualification, uint64_t gpa, uint64_t gla,
			   struct tdp_fault *fault);
/** EPT misconfiguration: only the guest-physical address is reported (SDM vol. 3C, 29.3.3.1). */
TDP_API int tdp_decode_ept_misconfig(uint64_t gpa, struct tdp_fault *fault);
/** Nested page fault (AMD APM vol. 2, 15.25.6): EXITINFO1 error code, EXITINFO2 address. */
TDP_API int tdp_decode_npf(uint64_t exitinfo1, uint64_t exitinfo2, struct tdp_fault *fault);
/** Stage-2 abort taken to EL2 (Arm DDI 0487, D17.2.37 ESR_ELx, HPFAR_EL2, FAR_EL2). */
TDP_API int tdp_decode_s2(uint64_t esr, uint64_t hpfar, uint64_t far, struct tdp_fault *fault);
/** Fault of the test format: bits 0..2 read, write, fetch, 3 present, 4 reserved, 5 access flag. */
TDP_API int tdp_decode_test(uint64_t code, uint64_t gpa, struct tdp_fault *fault);

#ifdef __cplusplus
}
#endif
#endif

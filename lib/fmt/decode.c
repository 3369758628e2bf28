/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fault reports of the architectures, turned into struct tdp_fault: the one place that reads exit
 * qualifications, error codes and syndromes. Only what tdp_fault() can act on is accepted.
 */
#include "base/bits.h"

#include <tdp/decode.h>

static int report(struct tdp_fault *fault, uint32_t flags, uint64_t gpa, uint32_t access,
		  uint64_t gva)
{
	/* The whole structure: tdp_fault() refuses what is not zero and reserved. */
	fault->size = (uint32_t)sizeof(*fault);
	fault->flags = flags;
	fault->gpa = gpa;
	fault->access = access;
	fault->reserved = 0;
	fault->gva = flags & TDP_FAULT_GVA ? gva : 0;
	return TDP_OK;
}

/* EPT and the test format have read, write and fetch in bits 0..2; which mode's fetch is not said. */
static uint32_t access_of(uint64_t bits)
{
	return ((uint32_t)bits & (TDP_R | TDP_W)) | (bits & TDPI_BIT(2) ? TDP_X : 0);
}

/*
 * Bits 0..2: what was tried, 3..5: what entries permit, 7: gla valid, 8: not on the guest's walk. Bit 6 (user
 * execution permitted) is undefined unless execution is by mode, bit 9 (a user-mode address) unless
 * the processor has advanced information: neither is looked at.
 */
int tdp_decode_ept(uint64_t qualification, uint64_t gpa, uint64_t gla, struct tdp_fault *fault)
{
	uint32_t access = access_of(qualification);
	uint32_t flags = 0;

	if (!fault || !access)
		return TDP_EINVAL;
	if (qualification & TDPI_MASK(5, 3))
		flags |= TDP_FAULT_PRESENT;
	if (qualification & TDPI_BIT(7)) {
		flags |= TDP_FAULT_GVA;
		/* Bit 8 means something only beside bit 7. */
		flags |= qualification & TDPI_BIT(8) ? 0 : TDP_FAULT_WALK;
	}
	return report(fault, flags, gpa, access, gla);
}

/* Hardware does not say which access it was; a read is what every access needs at least. */
int tdp_decode_ept_misconfig(uint64_t gpa, struct tdp_fault *fault)
{
	if (!fault)
		return TDP_EINVAL;
	return report(fault, TDP_FAULT_RSVD, gpa, TDP_R, 0);
}

/* Bits 0 P, 1 RW, 3 RSV, 4 ID, 31 RMP, 33 on the guest's own walk. */
int tdp_decode_npf(uint64_t exitinfo1, uint64_t exitinfo2, struct tdp_fault *fault)
{
	uint32_t access = 0;
	uint32_t flags = 0;

	/* A reverse-map violation is no fault of these tables: no change of them would end it. */
	if (!fault || exitinfo1 & TDPI_BIT(31))
		return TDP_EINVAL;
	access |= exitinfo1 & TDPI_BIT(1) ? TDP_W : 0;
	access |= exitinfo1 & TDPI_BIT(4) ? TDP_X : 0;
	flags |= exitinfo1 & TDPI_BIT(0) ? TDP_FAULT_PRESENT : 0;
	flags |= exitinfo1 & TDPI_BIT(3) ? TDP_FAULT_RSVD : 0;
	flags |= exitinfo1 & TDPI_BIT(33) ? TDP_FAULT_WALK : 0;
	return report(fault, flags, exitinfo2, access ? access : TDP_R, 0);
}

#define S2_EC_INSTRUCTION 0x20u /* from a lower Exception level */
#define S2_EC_DATA 0x24u
#define S2_WNR TDPI_BIT(6)
#define S2_S1PTW TDPI_BIT(7)
#define S2_CM TDPI_BIT(8)
#define S2_FNV TDPI_BIT(10)
#define S2_HPFAR_FIPA TDPI_MASK(43, 4) /* IPA[51:12] */

/* Flags of a fault status code, or -1 when it is none of the four kinds of MMU fault. */
static int s2_flags(unsigned fsc)
{
	switch (fsc) {
	case 0x00:
	case 0x01:
	case 0x02:
	case 0x03: return TDP_FAULT_SIZE;
	case 0x04:
	case 0x05:
	case 0x06:
	case 0x07: return 0;
	case 0x09:
	case 0x0a:
	case 0x0b: return TDP_FAULT_ACCESS_FLAG | TDP_FAULT_PRESENT;
	case 0x0d:
	case 0x0e:
	case 0x0f: return TDP_FAULT_PRESENT;
	default:
		/* External aborts, TLB conflicts, level 0 and -1 leaves (LPA2 only), and so on. */
		return -1;
	}
}

/*
 * What the memory must permit for the guest to go on. On a stage 1 walk the class and WnR speak of
 * the instruction, not of the access to the guest's table; and WnR is always 1 for cache
 * maintenance. Both read. Both also write at times (hardware update of the guest's entry, DC IVAC),
 * which shows as a permission fault: a leaf lacks R only where its memory does, and then no answer
 * helps.
 */
static uint32_t s2_access(uint64_t esr, bool data, bool permission)
{
	if (esr & S2_S1PTW || (data && esr & S2_CM))
		return permission ? TDP_W : TDP_R;
	if (!data)
		return TDP_X;
	return esr & S2_WNR ? TDP_W : TDP_R;
}

/*
 * HPFAR_EL2 is UNKNOWN after a permission fault that is not on a stage 1 walk: the caller then
 * translates FAR_EL2 (AT S1E1R) and passes that address >> 8.
 */
int tdp_decode_s2(uint64_t esr, uint64_t hpfar, uint64_t far, struct tdp_fault *fault)
{
	unsigned ec = (unsigned)(esr >> 26 & 0x3f);
	unsigned fsc = (unsigned)(esr & 0x3f);
	int kind = s2_flags(fsc);
	uint64_t gpa = (hpfar & S2_HPFAR_FIPA) << 8;
	bool permission = (fsc & 0x3c) == 0x0c;
	uint32_t flags;

	if (!fault || kind < 0 || (ec != S2_EC_INSTRUCTION && ec != S2_EC_DATA))
		return TDP_EINVAL;
	flags = (uint32_t)kind;
	if (!(esr & S2_FNV))
		flags |= TDP_FAULT_GVA;
	/* On a walk FAR has the offset of the guest's access, not that of its table entry. */
	if (esr & S2_S1PTW)
		flags |= TDP_FAULT_WALK;
	else if (!(esr & S2_FNV))
		gpa |= far & (TDP_PAGE_SIZE - 1);
	return report(fault, flags, gpa, s2_access(esr, ec == S2_EC_DATA, permission), far);
}

int tdp_decode_test(uint64_t code, uint64_t gpa, struct tdp_fault *fault)
{
	uint32_t access = access_of(code);
	uint32_t flags = 0;

	if (!fault || !access || code & ~TDPI_MASK(5, 0))
		return TDP_EINVAL;
	flags |= code & TDPI_BIT(3) ? TDP_FAULT_PRESENT : 0;
	flags |= code & TDPI_BIT(4) ? TDP_FAULT_RSVD : 0;
	flags |= code & TDPI_BIT(5) ? TDP_FAULT_ACCESS_FLAG : 0;
	return report(fault, flags, gpa, access, 0);
}

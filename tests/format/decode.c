/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fault reports composed by hand from the manuals: SDM vol. 3C table 28-7, APM vol. 2 15.25.6, DDI
 * 0487 (ESR_EL2 with EC 0x20 and 0x24, HPFAR_EL2), and what must be refused.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <tdp/decode.h>

#define PRESENT TDP_FAULT_PRESENT
#define RSVD TDP_FAULT_RSVD
#define ACCESS_FLAG TDP_FAULT_ACCESS_FLAG
#define WALK TDP_FAULT_WALK
#define GVA TDP_FAULT_GVA
#define SIZE TDP_FAULT_SIZE

enum source { EPT, NPF, S2, TEST };

struct vector {
	enum source source;
	uint64_t in[3];
	int status;
	uint32_t flags, access;
	uint64_t gpa, gva;
};

static int decode(const struct vector *v, struct tdp_fault *fault)
{
	switch (v->source) {
	case EPT:
		return tdp_decode_ept(v->in[0], v->in[1], v->in[2], fault);
	case NPF:
		return tdp_decode_npf(v->in[0], v->in[1], fault);
	case S2:
		return tdp_decode_s2(v->in[0], v->in[1], v->in[2], fault);
	case TEST:
		return tdp_decode_test(v->in[0], v->in[1], fault);
	}
	return TDP_OK;
}

static void check(const struct vector *v, size_t count)
{
	for (size_t i = 0; i < count; i++, v++) {
		struct tdp_fault f, before;

		memset(&f, 0xa5, sizeof(f));
		before = f;
		if (decode(v, &f) != v->status)
			fail_msg("vector %zu (%#" PRIx64 "): status", i, v->in[0]);
		assert_int_equal(decode(v, NULL), TDP_EINVAL);
		if (v->status) {
			assert_memory_equal(&f, &before, sizeof(f));
			continue;
		}
		if (f.size != sizeof(f) || f.flags != v->flags || f.access != v->access ||
		    f.gpa != v->gpa || f.gva != v->gva || f.reserved)
			fail_msg("vector %zu (%#" PRIx64 "): flags %#x access %#x gpa %#" PRIx64
				 " gva %#" PRIx64,
				 i, v->in[0], f.flags, f.access, f.gpa, f.gva);
	}
}

#define CHECK(list) check(list, sizeof(list) / sizeof((list)[0]))

/* clang-format off */
static void test_ept(void **state)
{
	static const struct vector list[] = {
		/* read of nothing, final access, gla valid (7, 8) */
		{EPT, {0x181, 0x123456789abc, UINT64_C(0xffff800000000abc)}, 0, GVA, TDP_R,
		 0x123456789abc, UINT64_C(0xffff800000000abc)},
		/* write to R+X (5, 3) */
		{EPT, {0x1aa, 0x5000, 0x7000}, 0, GVA | PRESENT, TDP_W, 0x5000, 0x7000},
		/* fetch from R */
		{EPT, {0x18c, 0x5000, 0x7000}, 0, GVA | PRESENT, TDP_X, 0x5000, 0x7000},
		/* read-modify-write: bits 0 and 1 */
		{EPT, {0x183, 0x5000, 0x7000}, 0, GVA, TDP_R | TDP_W, 0x5000, 0x7000},
		/* the guest's page walk (8 clear), counted as a write with A/D */
		{EPT, {0x8b, 0x5008, 0x7000}, 0, GVA | WALK | PRESENT, TDP_R | TDP_W, 0x5008,
		 0x7000},
		/* no gla: loading PDPTEs; then bit 8 says nothing, and gla is not copied */
		{EPT, {0x001, 0x5000, 0x7000}, 0, 0, TDP_R, 0x5000, 0},
		{EPT, {0x101, 0x5000, 0x7000}, 0, 0, TDP_R, 0x5000, 0},
		/* X alone counts as present; bit 6 (user-mode X) and 12 (NMI unblocking) do not */
		{EPT, {0x1a1, 0x5000, 0x7000}, 0, GVA | PRESENT, TDP_R, 0x5000, 0x7000},
		{EPT, {0x11c1, 0x5000, 0x7000}, 0, GVA, TDP_R, 0x5000, 0x7000},
		/* a fetch is one whatever bits 6 (user-mode X) and 9 (user-mode address) say */
		{EPT, {0x38c, 0x5000, 0x7000}, 0, GVA | PRESENT, TDP_X, 0x5000, 0x7000},
		{EPT, {0x1c4, 0x5000, 0x7000}, 0, GVA, TDP_X, 0x5000, 0x7000},
		/* W alone of an entry, bit 4 */
		{EPT, {0x191, 0x5000, 0x7000}, 0, GVA | PRESENT, TDP_R, 0x5000, 0x7000},
		/* no access at all */
		{EPT, {0x180, 0x5000, 0x7000}, TDP_EINVAL, 0, 0, 0, 0},
	};
	struct tdp_fault f = {0};

	(void)state;
	CHECK(list);
	assert_int_equal(tdp_decode_ept_misconfig(0x6543, NULL), TDP_EINVAL);
	assert_int_equal(tdp_decode_ept_misconfig(0x6543, &f), TDP_OK);
	assert_int_equal(f.size, sizeof(f));
	assert_int_equal(f.flags, TDP_FAULT_RSVD);
	assert_int_equal(f.access, TDP_R);
	assert_int_equal(f.gpa, 0x6543);
	assert_int_equal(f.gva, 0);
}

static void test_npf(void **state)
{
	static const struct vector list[] = {
		/* read of nothing: U/S, final address (32) */
		{NPF, {0x100000004, 0x123456789abc}, 0, 0, TDP_R, 0x123456789abc, 0},
		/* write to a present, read-only page */
		{NPF, {0x100000007, 0x5000}, 0, PRESENT, TDP_W, 0x5000, 0},
		/* fetch (4) from a no-execute page */
		{NPF, {0x100000015, 0x5000}, 0, PRESENT, TDP_X, 0x5000, 0},
		/* the guest's page walk (33), always a write */
		{NPF, {0x200000006, 0x5008}, 0, WALK, TDP_W, 0x5008, 0},
		/* reserved bit (3) */
		{NPF, {0x10000000d, 0x5000}, 0, PRESENT | RSVD, TDP_R, 0x5000, 0},
		/* shadow stack (6, 37) */
		{NPF, {0x2100000046, 0x5000}, 0, 0, TDP_W, 0x5000, 0},
		/* reverse map (31), ENC (34) */
		{NPF, {0x180000006, 0x5000}, TDP_EINVAL, 0, 0, 0, 0},
		{NPF, {0x580000006, 0x5000}, TDP_EINVAL, 0, 0, 0, 0},
	};

	(void)state;
	CHECK(list);
}

#define IABT 0x82000000u /* EC 0x20, IL */
#define DABT 0x92000000u /* EC 0x24, IL */
#define WNR 0x40u
#define S1PTW 0x80u
#define CM 0x100u
#define FNV 0x400u

static void test_s2(void **state)
{
	const uint64_t far = UINT64_C(0xffff800000000abd), gpa = 0x123456789000;
	const uint64_t hpfar = 0x1234567890; /* IPA >> 8 */
	const struct vector list[] = {
		/* translation faults, level 0 to 3 */
		{S2, {DABT | 0x04, hpfar, far}, 0, GVA, TDP_R, gpa + 0xabd, far},
		{S2, {DABT | 0x05, hpfar, far}, 0, GVA, TDP_R, gpa + 0xabd, far},
		{S2, {DABT | WNR | 0x06, hpfar, far}, 0, GVA, TDP_W, gpa + 0xabd, far},
		{S2, {IABT | 0x07, hpfar, far}, 0, GVA, TDP_X, gpa + 0xabd, far},
		/* ISV and the syndrome of the instruction change nothing */
		{S2, {DABT | 0x01400000 | 0x07, hpfar, far}, 0, GVA, TDP_R, gpa + 0xabd, far},
		/* permission */
		{S2, {DABT | WNR | 0x0f, hpfar, far}, 0, GVA | PRESENT, TDP_W, gpa + 0xabd, far},
		{S2, {IABT | 0x0d, hpfar, far}, 0, GVA | PRESENT, TDP_X, gpa + 0xabd, far},
		/* Access flag */
		{S2, {DABT | 0x0b, hpfar, far}, 0, GVA | PRESENT | ACCESS_FLAG, TDP_R,
		 gpa + 0xabd, far},
		{S2, {IABT | 0x09, hpfar, far}, 0, GVA | PRESENT | ACCESS_FLAG, TDP_X,
		 gpa + 0xabd, far},
		/* address size */
		{S2, {DABT | WNR | 0x00, hpfar, far}, 0, GVA | SIZE, TDP_W, gpa + 0xabd, far},
		{S2, {IABT | 0x03, hpfar, far}, 0, GVA | SIZE, TDP_X, gpa + 0xabd, far},
		/* on a stage 1 walk: a read, of the page only; a write if a leaf there refused */
		{S2, {IABT | S1PTW | 0x07, hpfar, far}, 0, GVA | WALK, TDP_R, gpa, far},
		{S2, {DABT | WNR | S1PTW | 0x07, hpfar, far}, 0, GVA | WALK, TDP_R, gpa, far},
		{S2, {IABT | S1PTW | 0x0f, hpfar, far}, 0, GVA | WALK | PRESENT, TDP_W, gpa, far},
		{S2, {DABT | S1PTW | 0x0b, hpfar, far}, 0, GVA | WALK | PRESENT | ACCESS_FLAG,
		 TDP_R, gpa, far},
		/* cache maintenance has WnR set always */
		{S2, {DABT | WNR | CM | 0x07, hpfar, far}, 0, GVA, TDP_R, gpa + 0xabd, far},
		{S2, {DABT | WNR | CM | 0x0f, hpfar, far}, 0, GVA | PRESENT, TDP_W, gpa + 0xabd,
		 far},
		/* FAR not valid */
		{S2, {DABT | FNV | 0x07, hpfar, far}, 0, 0, TDP_R, gpa, 0},
		/* HPFAR: bit 63 (NS) and 3:0 are no address; 43:4 are */
		{S2, {DABT | 0x07, 0x8000000000000000 | hpfar | 0xf, far}, 0, GVA, TDP_R,
		 gpa + 0xabd, far},
		{S2, {DABT | 0x07, 0xfffffffffff | UINT64_C(1) << 44, 0}, 0, GVA, TDP_R,
		 0xffffffffff000, 0},
		/* same Exception level, SVC, HVC, unknown */
		{S2, {0x86000007, hpfar, far}, TDP_EINVAL, 0, 0, 0, 0},
		{S2, {0x96000007, hpfar, far}, TDP_EINVAL, 0, 0, 0, 0},
		{S2, {0x56000007, hpfar, far}, TDP_EINVAL, 0, 0, 0, 0},
		{S2, {0x5a000007, hpfar, far}, TDP_EINVAL, 0, 0, 0, 0},
		{S2, {0x00000007, hpfar, far}, TDP_EINVAL, 0, 0, 0, 0},
	};

	(void)state;
	CHECK(list);
}
/* clang-format on */

/* Every fault status code but those of the four MMU faults is refused. */
static void test_s2_status_codes(void **state)
{
	(void)state;
	for (uint64_t fsc = 0; fsc < 64; fsc++) {
		struct tdp_fault f;
		bool mmu = fsc <= 0x0f && fsc != 0x08 && fsc != 0x0c;

		assert_int_equal(tdp_decode_s2(DABT | fsc, 0x10, 0, &f), mmu ? TDP_OK : TDP_EINVAL);
		assert_int_equal(tdp_decode_s2(IABT | fsc, 0x10, 0, &f), mmu ? TDP_OK : TDP_EINVAL);
	}
}

/* clang-format off */
static void test_test(void **state)
{
	static const struct vector list[] = {
		{TEST, {0x01, 0x5abc}, 0, 0, TDP_R, 0x5abc, 0},
		{TEST, {0x0a, 0x5abc}, 0, PRESENT, TDP_W, 0x5abc, 0},
		{TEST, {0x14, 0x5abc}, 0, RSVD, TDP_X, 0x5abc, 0},
		{TEST, {0x29, 0x5abc}, 0, PRESENT | ACCESS_FLAG, TDP_R, 0x5abc, 0},
		{TEST, {0x08, 0x5abc}, TDP_EINVAL, 0, 0, 0, 0},
		{TEST, {0x41, 0x5abc}, TDP_EINVAL, 0, 0, 0, 0},
		{TEST, {0x8000000000000001, 0x5abc}, TDP_EINVAL, 0, 0, 0, 0},
	};

	(void)state;
	CHECK(list);
}
/* clang-format on */

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ept),  cmocka_unit_test(test_npf),
		cmocka_unit_test(test_s2),   cmocka_unit_test(test_s2_status_codes),
		cmocka_unit_test(test_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

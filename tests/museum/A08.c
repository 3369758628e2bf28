/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A08, Propolis on bhyve 2022: writes by devices and by the VMM go through the host's own mapping and set no
 * Dirty bit in the guest's tables, so a migration lacked them; and on the target what had been received was not
 * dirty, so a second migration sent too little. Here memory goes from A to B to C, two rounds each, with guest
 * and host writing: what tdp_dirty_mark() was told is in the log in every mode, a log that starts full sends
 * everything, and C ends up with what B has.
 */
#include "museum.h"

#define PAGES 100u
#define WORDS 2u

struct memory {
	unsigned content[PAGES];
};

static void write_one(struct test_vm *vm, uint32_t slot, struct memory *m, unsigned n,
		      unsigned value, bool host)
{
	if (host)
		assert_int_equal(tdp_dirty_mark(vm->mm, slot, n, 1), TDP_OK);
	else
		museum_reaches(vm, n * TEST_PAGE, TDP_W, MUSEUM_PA + n * TEST_PAGE);
	m->content[n] = value;
}

static unsigned send_dirty(struct test_vm *vm, uint32_t slot, const struct memory *from,
			   struct memory *to)
{
	uint64_t bits[WORDS];
	unsigned sent = 0;

	assert_int_equal(tdp_dirty_harvest(vm->mm, slot, 0, bits, WORDS), TDP_OK);
	for (unsigned n = 0; n < PAGES; n++) {
		if (!(bits[n / 64] >> n % 64 & 1))
			continue;
		to->content[n] = from->content[n];
		sent++;
	}
	return sent;
}

/* A machine that has `mine` migrates to `to`, while it goes on writing. */
static void migrate(void **state, struct memory *mine, struct memory *to, uint32_t mode,
		    unsigned seed)
{
	struct test_vm vm;
	struct test_rand rand;
	uint32_t slot;

	museum_start(&vm, state, NULL);
	test_rand_init(&rand, seed);
	slot = museum_slot(&vm, 0, PAGES * TEST_PAGE, MUSEUM_PA);
	assert_int_equal(tdp_dirty_log(vm.mm, slot, mode | TDP_LOG_INITIALLY_SET), TDP_OK);
	memset(to, 0, sizeof(*to));
	assert_int_equal(send_dirty(&vm, slot, mine, to), PAGES);
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 20; i++)
			write_one(&vm, slot, mine, (unsigned)test_below(&rand, PAGES),
				  seed + 100 * round + i, i % 2);
		assert_in_range(send_dirty(&vm, slot, mine, to), 1, 20);
		assert_memory_equal(mine, to, sizeof(*to));
	}
	/* Nobody writes, nothing to send; what is not logged is not marked. */
	assert_int_equal(send_dirty(&vm, slot, mine, to), 0);
	museum_end(&vm);
}

static void twice(void **state)
{
	static const uint32_t modes[] = {TDP_LOG_AUTO, TDP_LOG_WRPROT};

	for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
		struct memory a, b, c;

		for (unsigned n = 0; n < PAGES; n++)
			a.content[n] = n + 1;
		migrate(state, &a, &b, modes[i], 1000);
		migrate(state, &b, &c, modes[i], 5000);
		assert_memory_equal(&b, &c, sizeof(c));
	}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(twice)};

	return test_run("museum/A08", cases, ARRAY_LEN(cases));
}

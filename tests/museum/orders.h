/* SPDX-License-Identifier: BSD-2-Clause */
/* Pieces of the museum that try every order of a few threads: include explore/world.h before. */
#ifndef TESTS_MUSEUM_ORDERS_H
#define TESTS_MUSEUM_ORDERS_H

static inline bool orders_format(const struct test_format *fmt)
{
	static const char *const names[] = {"ept4", "npt4", "s2-40", "test"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(names[i], fmt->name))
			return true;
	return false;
}

static const struct world_program *orders_programs;
static size_t orders_count;

static inline void every_order_holds(void **state)
{
	const struct test_format *fmt = *state;

	for (size_t i = 0; i < orders_count; i++)
		if (!orders_programs[i].wanted || orders_programs[i].wanted(fmt))
			world_holds(fmt, &orders_programs[i]);
}

static inline int orders_run(const char *group, const struct world_program *programs, size_t count)
{
	static const struct test_case cases[] = {TEST_CASE_IF(every_order_holds, orders_format)};

	orders_programs = programs;
	orders_count = count;
	return test_run(group, cases, ARRAY_LEN(cases));
}

static inline bool orders_mapped(unsigned n, struct tdp_mapping *m)
{
	memset(m, 0, sizeof(*m));
	m->size = (uint32_t)sizeof(*m);
	return tdp_translate(w.vm.mm, 0, page(n), m) == TDP_OK;
}

#endif

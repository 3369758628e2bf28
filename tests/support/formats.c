/* SPDX-License-Identifier: BSD-2-Clause */
/* The formats and geometries that every test runs for, and the cmocka groups made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support.h"

#include <stdlib.h>
#include <string.h>

#define NO_AD (TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY)

/*
 * arm64 geometries (DDI 0487, D8.2, 4K granule): up to 16 tables are concatenated rather than one
 * level more, so 34 bits need 2 levels and 43 bits 3.
 */
const struct test_format test_formats[] = {
	/* name, format, gpa bits, levels asked, caps left out, mm flags, chunk, root pages, levels
	 */
	{"ept4", TDP_FMT_EPT, 48, 4, 0, 0, 13, 1, 4},
	{"ept5", TDP_FMT_EPT, 52, 5, 0, 0, 13, 1, 5},
	{"ept4-noad", TDP_FMT_EPT, 48, 0, NO_AD, 0, 13, 1, 4},
	{"ept4-adoff", TDP_FMT_EPT, 46, 0, 0, TDP_MM_NO_HW_AD, 13, 1, 4},
	{"npt4", TDP_FMT_NPT, 48, 4, 0, 0, 13, 1, 4},
	{"npt5", TDP_FMT_NPT, 52, 5, 0, 0, 13, 1, 5},
	{"s2-34", TDP_FMT_S2_4K, 34, 0, 0, 0, 17, 16, 2},
	{"s2-39", TDP_FMT_S2_4K, 39, 0, 0, 0, 13, 1, 3},
	{"s2-40", TDP_FMT_S2_4K, 40, 0, 0, 0, 14, 2, 3},
	{"s2-43", TDP_FMT_S2_4K, 43, 0, 0, 0, 17, 16, 3},
	{"s2-48", TDP_FMT_S2_4K, 48, 0, 0, 0, 13, 1, 4},
	{"s2-noaf", TDP_FMT_S2_4K, 40, 0, NO_AD, 0, 14, 2, 3},
	{"s2-nodbm", TDP_FMT_S2_4K, 40, 0, TDP_CAP_HW_DIRTY, 0, 14, 2, 3},
	{"test", TDP_FMT_TEST, 32, 0, 0, 0, 13, 1, 5},
	{"test-noad", TDP_FMT_TEST, 32, 0, NO_AD, 0, 13, 1, 5},
};
const size_t test_format_count = ARRAY_LEN(test_formats);

const struct test_format *test_format_find(const char *name)
{
	size_t i;

	for (i = 0; i < test_format_count; i++)
		if (!strcmp(test_formats[i].name, name))
			return &test_formats[i];
	return NULL;
}

int test_run(const char *group, const struct test_case *cases, size_t count)
{
	struct CMUnitTest *tests = calloc(count * test_format_count, sizeof(*tests));
	const char *only = getenv("TDP_FORMAT"), *one = getenv("TDP_CASE");
	char(*names)[96] = calloc(count * test_format_count, sizeof(*names));
	size_t i, f, n = 0;
	int failed;

	if (!tests || !names)
		abort();
	setvbuf(stdout, NULL, _IOLBF, 0);
	test_seed();
	for (i = 0; i < count; i++) {
		size_t before = n;

		if (one && *one && strcmp(one, cases[i].name) != 0)
			continue;
		for (f = 0; f < test_format_count; f++) {
			const struct test_format *fmt = &test_formats[f];

			if (only && *only && strcmp(only, fmt->name) != 0)
				continue;
			if (cases[i].wanted && !cases[i].wanted(fmt))
				continue;
			snprintf(names[n], sizeof(names[n]), "%s/%s", cases[i].name, fmt->name);
			tests[n].name = names[n];
			tests[n].test_func = cases[i].fn;
			/* cmocka wants it writable; tests cast it back to const */
			memcpy(&tests[n].initial_state, &(const void *){fmt}, sizeof(void *));
			n++;
		}
		if (n == before && !(only && *only)) {
			fprintf(stderr, "%s: no format wants %s\n", group, cases[i].name);
			exit(1);
		}
	}
	if (n == 0) {
		fprintf(stderr, "%s: TDP_FORMAT and TDP_CASE leave nothing to run\n", group);
		exit(1);
	}
	failed = _cmocka_run_group_tests(group, tests, n, NULL, NULL);
	free(names);
	free(tests);
	return failed;
}

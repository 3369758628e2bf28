/* SPDX-License-Identifier: BSD-2-Clause */
/* A host that is asked whether to give way at every table: asked too often, somebody gets nowhere. */
#ifndef TESTS_MUSEUM_BOUNDED_H
#define TESTS_MUSEUM_BOUNDED_H

#include "museum.h"

static struct {
	uint64_t asked, most;
	int answer;
} bounded;

static inline int bounded_should_yield(void *priv)
{
	(void)priv;
	if (bounded.most && ++bounded.asked > bounded.most)
		fail_msg("no progress after %llu steps", (unsigned long long)bounded.asked);
	return bounded.answer;
}

static inline void bounded_host(struct tdp_env *env)
{
	env->should_yield = bounded_should_yield;
}

/* From here on at most so many questions, all answered alike. */
static inline void bounded_by(uint64_t most, int answer)
{
	bounded.asked = 0;
	bounded.most = most;
	bounded.answer = answer;
}

#endif

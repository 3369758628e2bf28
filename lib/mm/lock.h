/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One lock word for everything (tables, pool, roots, slots): 0 free, 1 held, 2 held and somebody sleeps.
 * Uncontended: one atomic to take, one to drop. Contended: a short spin, then env->wait if there is one
 * (a hosted thread can be descheduled while it holds a lock), else spinning with env->relax.
 */
#ifndef TDPI_MM_LOCK_H
#define TDPI_MM_LOCK_H

#include "base/assert.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "mm/lockcheck.h"

#include <tdp/env.h>

void tdpi_lock_slow(const struct tdp_env *env, uint32_t *word);
void tdpi_lock_wake(const struct tdp_env *env, uint32_t *word);

static inline void tdpi_lock(const struct tdp_env *env, uint32_t *word, enum tdpi_locking class)
{
	uint32_t expected = 0;

	tdpi_lockcheck_take(env, word, class);
	TDPI_POINT(ACQUIRE, word, sizeof(*word)); /* with test points: returns when it is free */
	if (tdpi_unlikely(!tdpi_lock_cas(word, &expected)))
		tdpi_lock_slow(env, word);
}

/* False: somebody has it. (With test points nobody ever has: that would only make more orders of the same.) */
static inline bool tdpi_trylock(const struct tdp_env *env, uint32_t *word, enum tdpi_locking class)
{
	uint32_t expected = 0;

	TDPI_POINT(ACQUIRE, word, sizeof(*word));
	if (!tdpi_lock_cas(word, &expected))
		return false;
	tdpi_lockcheck_take(env, word, class);
	return true;
}

static inline void tdpi_unlock(const struct tdp_env *env, uint32_t *word)
{
	tdpi_lockcheck_drop(env, word);
	TDPI_POINT(RELEASE, word, sizeof(*word));
	/* Without a hook nobody sleeps, so dropping is one plain release store. */
	if (!env->wake)
		tdpi_lock_clear(word);
	else if (tdpi_unlikely(tdpi_lock_xchg(word) == 2))
		tdpi_lock_wake(env, word);
}

static inline void tdpi_relax(const struct tdp_env *env)
{
	if (env->relax)
		env->relax(env->priv);
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* The contended half of the lock word. */
#include "mm/lock.h"

#define SPINS 100

TDPI_COLD void tdpi_lock_slow(const struct tdp_env *env, uint32_t *word)
{
	for (;;) {
		for (unsigned i = 0; i < SPINS || !env->wait; i++) {
			uint32_t expected = 0;

			if (tdpi_load_relaxed(word) == 0 && tdpi_cas_acquire(word, &expected, 1u))
				return;
			tdpi_relax(env);
		}
		/*
		 * From here the word says 2 until the holder drops it: whoever sleeps is woken. Taking
		 * the lock as 2 costs one wake too many at the worst, never one too few.
		 */
		if (tdpi_xchg_acquire(word, 2u) == 0)
			return;
		env->wait(env->priv, word, 2u);
	}
}

TDPI_COLD void tdpi_lock_wake(const struct tdp_env *env, uint32_t *word)
{
	env->wake(env->priv, word);
}

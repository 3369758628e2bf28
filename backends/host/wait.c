/* SPDX-License-Identifier: BSD-2-Clause */
/* Waiting for a word to change (private futexes on Linux, giving up the CPU elsewhere), and the time. */
#define _DEFAULT_SOURCE

#include "host.h"

#include <time.h>

uint64_t tdpi_host_now(void *priv)
{
	struct timespec t = {0, 0};

	(void)priv;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

#if defined(__linux__)
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A signal or a word that has changed already ends the wait early, which the contract permits. */
void tdpi_host_wait(void *priv, const uint32_t *word, uint32_t value)
{
	(void)priv;
	(void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

void tdpi_host_wake(void *priv, const uint32_t *word)
{
	(void)priv;
	(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
#else
#include <sched.h>

/* Every wait returns early, so there is nobody to wake. */
void tdpi_host_wait(void *priv, const uint32_t *word, uint32_t value)
{
	(void)priv;
	(void)word;
	(void)value;
	(void)sched_yield();
}

void tdpi_host_wake(void *priv, const uint32_t *word)
{
	(void)priv;
	(void)word;
}
#endif

void tdpi_host_relax(void *priv)
{
	(void)priv;
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Log lines: to standard error, or where tdp_posix_set_log() says. */
#include "host.h"

#include <pthread.h>
#include <stdio.h>

static void log_to_stderr(void *priv, int level, const char *msg)
{
	static const char *const name[] = {"bug", "warning", "info"};
	const int known = level >= TDP_LOG_BUG && level <= TDP_LOG_INFO;

	(void)priv;
	fprintf(stderr, "libtdp: %s: %s\n", known ? name[level] : "?", msg);
}

/* Function and argument change together; the lock is held for the copy only. */
static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*sink)(void *priv, int level, const char *msg) = log_to_stderr;
static void *sink_priv;

void tdp_posix_set_log(void (*log)(void *priv, int level, const char *msg), void *priv)
{
	pthread_mutex_lock(&sink_lock);
	sink = log;
	sink_priv = priv;
	pthread_mutex_unlock(&sink_lock);
}

void tdpi_host_log(void *priv, int level, const char *msg)
{
	void (*log)(void *priv, int level, const char *msg);
	void *log_priv;

	(void)priv;
	pthread_mutex_lock(&sink_lock);
	log = sink;
	log_priv = sink_priv;
	pthread_mutex_unlock(&sink_lock);
	if (log)
		log(log_priv, level, msg);
}

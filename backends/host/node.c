/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which NUMA nodes there are, on which one a thread runs, and that memory should come from one. System calls, made by
 * number: there is nothing in libnuma that is worth needing it. Where they are refused, as in some containers, there is
 * one node.
 */
#define _DEFAULT_SOURCE

#include "host.h"

#if defined(__linux__)
#include <limits.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NODES_MAX 1024u /* that a kernel is configured for, at the most */
#define WORD_BITS ((unsigned)(sizeof(unsigned long) * CHAR_BIT))

static pthread_once_t once = PTHREAD_ONCE_INIT;
static unsigned nodes = 1;

static void count_nodes(void)
{
	unsigned long mask[NODES_MAX / WORD_BITS] = {0};
	unsigned n = 0;

	if (syscall(SYS_get_mempolicy, NULL, mask, (unsigned long)NODES_MAX, NULL,
		    MPOL_F_MEMS_ALLOWED))
		return;
	for (unsigned i = 0; i < NODES_MAX; i++)
		n += (unsigned)(mask[i / WORD_BITS] >> i % WORD_BITS) & 1;
	nodes = n ? n : 1;
}

unsigned tdpi_host_nodes(void)
{
	pthread_once(&once, count_nodes);
	return nodes;
}

uint32_t tdpi_host_node(void *priv)
{
	unsigned cpu, node;

	(void)priv;
	return syscall(SYS_getcpu, &cpu, &node, NULL) ? TDP_NODE_ANY : node;
}

/* Preferred, not bound: where the node has no memory the kernel takes it from the next. */
void tdpi_host_prefer(void *va, uint64_t size, uint32_t node)
{
	unsigned long mask[NODES_MAX / WORD_BITS] = {0};

	if (node >= NODES_MAX)
		return;
	mask[node / WORD_BITS] = 1ul << node % WORD_BITS;
	/* One more than there are bits: the kernel takes one off. */
	(void)syscall(SYS_mbind, va, (unsigned long)size, MPOL_PREFERRED, mask,
		      (unsigned long)NODES_MAX + 1, 0u);
}
#else
unsigned tdpi_host_nodes(void)
{
	return 1;
}

uint32_t tdpi_host_node(void *priv)
{
	(void)priv;
	return TDP_NODE_ANY;
}

void tdpi_host_prefer(void *va, uint64_t size, uint32_t node)
{
	(void)va;
	(void)size;
	(void)node;
}
#endif

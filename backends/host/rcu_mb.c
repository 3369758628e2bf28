/* SPDX-License-Identifier: BSD-2-Clause */
/* liburcu-mb: readers with full fences, for kernels without sys_membarrier. */
#include "host.h"

#include <urcu/urcu-mb.h>

#define URCU(name) urcu_mb_##name
#define FLAVOUR_OPS tdpi_host_rcu_mb
#define FLAVOUR_QSBR 0
#define FLAVOUR_ATFORK 0
#include "rcu_flavour.h"

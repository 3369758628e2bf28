/* SPDX-License-Identifier: BSD-2-Clause */
/* liburcu-memb: readers without fences where the kernel has sys_membarrier. */
#include "host.h"

#include <urcu/urcu-memb.h>

#define URCU(name) urcu_memb_##name
#define FLAVOUR_OPS tdpi_host_rcu_memb
#define FLAVOUR_QSBR 0
#define FLAVOUR_ATFORK 0
#include "rcu_flavour.h"

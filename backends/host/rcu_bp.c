/* SPDX-License-Identifier: BSD-2-Clause */
/* liburcu-bp: threads register themselves when they first read. */
#include "host.h"

#include <urcu/urcu-bp.h>

#define URCU(name) urcu_bp_##name
#define FLAVOUR_OPS tdpi_host_rcu_bp
#define FLAVOUR_QSBR 0
#define FLAVOUR_ATFORK 1
#include "rcu_flavour.h"

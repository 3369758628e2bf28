/* SPDX-License-Identifier: BSD-2-Clause */
/* liburcu-qsbr: readers cost nothing, threads say when they are quiet. */
#include "host.h"

#include <urcu/urcu-qsbr.h>

#define URCU(name) urcu_qsbr_##name
#define FLAVOUR_OPS tdpi_host_rcu_qsbr
#define FLAVOUR_QSBR 1
#define FLAVOUR_ATFORK 0
#include "rcu_flavour.h"

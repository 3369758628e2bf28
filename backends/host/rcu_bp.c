/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * liburcu-bp: threads register themselves when they first read. Called, not inline: version 0.13 has readers that are
 * less aligned than their type.
 */
#define HOST_URCU_CALLS
#include "host.h"

#include <urcu/urcu-bp.h>

#define URCU(name) urcu_bp_##name
#define FLAVOUR_OPS tdpi_host_rcu_bp
#define FLAVOUR_QSBR 0
#define FLAVOUR_ATFORK 1
#include "rcu_flavour.h"

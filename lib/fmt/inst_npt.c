/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine, compiled for one format. */
#include "fmt/npt.h"

#include "fmt/contract_check.h"

#include "engine/instance.h"

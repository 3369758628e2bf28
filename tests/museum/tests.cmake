# SPDX-License-Identifier: BSD-2-Clause
# kill.sh builds every mutant, which takes minutes: as a test it only sees that all patches still apply.
if(TEST ${TDP_TEST_PREFIX}museum/kill)
	set_property(TEST ${TDP_TEST_PREFIX}museum/kill APPEND PROPERTY ENVIRONMENT KILL_CHECK=1)
endif()

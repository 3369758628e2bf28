# SPDX-License-Identifier: BSD-2-Clause
# One processor for some minutes.
if(TEST ${TDP_TEST_PREFIX}protocol/check)
	set_tests_properties(${TDP_TEST_PREFIX}protocol/check PROPERTIES COST 1000 TIMEOUT 1500)
endif()

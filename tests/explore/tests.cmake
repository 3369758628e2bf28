# SPDX-License-Identifier: BSD-2-Clause
# A hundred thousand orders and more on one processor: started early, and given time.
foreach(name IN ITEMS pairs logs)
	if(TEST ${TDP_TEST_PREFIX}explore/${name})
		set_tests_properties(${TDP_TEST_PREFIX}explore/${name} PROPERTIES COST 900 TIMEOUT 900)
	endif()
endforeach()

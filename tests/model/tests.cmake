# SPDX-License-Identifier: BSD-2-Clause
# One test per format, so that they run beside each other and a failure names its format. The program
# alone (model/random_ops) goes through all formats with few operations.
set(model_formats
	ept4 ept5 ept4-noad ept4-adoff npt4 npt5
	s2-34 s2-39 s2-40 s2-43 s2-48 s2-noaf s2-nodbm test test-noad)
if(TDP_SANITIZE)
	set(model_ops 40000)
else()
	set(model_ops 200000)
endif()
foreach(format IN LISTS model_formats)
	tdp_test(model ${format} test_model_random_ops --format ${format} --ops ${model_ops})
	tdp_test(model ${format}_slow test_model_random_ops --format ${format} --ops 10000000)
	if(TEST ${TDP_TEST_PREFIX}model/${format}_slow)
		set_tests_properties(${TDP_TEST_PREFIX}model/${format}_slow PROPERTIES TIMEOUT 3600)
	endif()
endforeach()

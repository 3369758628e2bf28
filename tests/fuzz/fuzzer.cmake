# SPDX-License-Identifier: BSD-2-Clause
# A source that defines LLVMFuzzerTestOneInput() is linked with libFuzzer, and with a library that is compiled for it
# (it counts what it reaches) and AddressSanitizer. Where that cannot be had, why_no_fuzzer says why.
set(why_no_fuzzer "")
if(TDP_SANITIZE)
	set(why_no_fuzzer "this build has sanitizers of its own")
elseif(programs)
	include(CheckCSourceCompiles)
	set(CMAKE_REQUIRED_FLAGS -fsanitize=fuzzer,address)
	check_c_source_compiles("
		int LLVMFuzzerTestOneInput(const unsigned char *data, unsigned long size);
		int LLVMFuzzerTestOneInput(const unsigned char *data, unsigned long size) { return data && size ? 0 : -1; }"
		TDP_HAVE_FUZZER)
	unset(CMAKE_REQUIRED_FLAGS)
	if(NOT TDP_HAVE_FUZZER)
		set(why_no_fuzzer "needs clang with libFuzzer (Debian: clang, libclang-rt-dev)")
	endif()
endif()

if(programs AND NOT why_no_fuzzer)
	file(GLOB_RECURSE library CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/lib/*.c ${PROJECT_SOURCE_DIR}/backends/emu/*.c)
	list(FILTER library EXCLUDE REGEX "/lib/pkg/")
	add_library(tdp_test_fuzz STATIC ${library} ${support})
	target_compile_options(tdp_test_fuzz PUBLIC -fsanitize=address -fno-omit-frame-pointer -O1)
	# What is reached counts in the library and the walker, not in those who judge.
	set_source_files_properties(${library} TARGET_DIRECTORY tdp_test_fuzz
		PROPERTIES COMPILE_OPTIONS -fsanitize=fuzzer-no-link)
	target_include_directories(tdp_test_fuzz PUBLIC ${PROJECT_SOURCE_DIR}/include
		${PROJECT_SOURCE_DIR}/lib ${CMAKE_CURRENT_SOURCE_DIR})
	target_include_directories(tdp_test_fuzz SYSTEM PUBLIC ${CMOCKA_INCLUDE_DIR})
	target_link_libraries(tdp_test_fuzz PUBLIC tdp_hosted_flags ${CMOCKA_LIBRARIES} Threads::Threads)
	target_link_options(tdp_test_fuzz PUBLIC -fsanitize=fuzzer,address)
endif()

# tdp_fuzzer(LABEL NAME SOURCE): as a test a short run from one seed; CONTRIBUTING.md says how to run it for long.
function(tdp_fuzzer label name source)
	if(why_no_fuzzer)
		tdp_skipped(${label} ${name} "${why_no_fuzzer}")
		return()
	endif()
	set(target test_${label}_${name})
	add_executable(${target} ${source})
	target_link_libraries(${target} PRIVATE tdp_test_fuzz)
	set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${label})
	tdp_test(${label} ${name} ${target} -seed=1 -runs=20000 -max_total_time=15 -len_control=0 -max_len=1024
		-timeout=60 -print_final_stats=1 -artifact_prefix=${name}-)
endfunction()

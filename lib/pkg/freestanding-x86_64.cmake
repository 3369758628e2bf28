# SPDX-License-Identifier: BSD-2-Clause
# Objects for x86_64 without an operating system; nothing is linked.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
# Kernel-like: no red zone, no vector registers.
set(CMAKE_C_COMPILER gcc)
set(CMAKE_C_FLAGS_INIT "-mno-red-zone -mgeneral-regs-only")

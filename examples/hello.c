/* SPDX-License-Identifier: BSD-2-Clause */
/* The smallest use of libtdp: one VM with 64 MiB, one guest write, and the dirty log has it. */
#include <inttypes.h>
#include <stdio.h>
#include <tdp/emu.h>
#include <tdp/posix.h>
#include <tdp/tdp.h>

int main(void)
{
	const struct tdp_env *env = tdp_posix_env_memb();
	struct tdp_slot_desc ram = {.size = sizeof(ram), .gpa = {0, 64u << 20}, .pa = 1u << 30};
	struct tdp_mm_config cfg = tdp_mm_config_default();
	struct tdp_fault fault = {.size = sizeof(fault)};
	struct tdp_emu_vcpu *cpu; /* the emulated machine stands in for real hardware */
	struct tdp_emu *machine;
	struct tdp_vcpu *vcpu;
	struct tdp_mm *mm;
	struct tdp_emu_exit exit;
	uint64_t dirty = 0;
	uint32_t slot;

	env->rcu->thread_register();
	if (tdp_emu_create(NULL, &machine) || tdp_emu_vcpu_create(machine, &cpu))
		return 1;
	cfg.format = TDP_FMT_EPT, cfg.gpa_bits = 48, cfg.env = env;
	cfg.backend = &tdp_emu_backend, cfg.backend_ctx = machine;
	if (tdp_mm_create(&cfg, &mm) || tdp_vcpu_create(mm, cpu, &vcpu) ||
	    tdp_slot_add(mm, &ram, &slot) || tdp_dirty_log(mm, slot, TDP_LOG_AUTO))
		return 1;
	while (tdp_vcpu_load(vcpu) || tdp_emu_access(cpu, 0x5000, TDP_W, &exit)) /* run the guest */
		if (tdp_emu_decode(&exit, &fault) || tdp_fault(vcpu, &fault, NULL) < 0)
			return 1;
	if (tdp_dirty_harvest(mm, slot, 0, &dirty, 1))
		return 1;
	printf("gpa 0x5000 -> pa %#" PRIx64 ", dirty pages %#" PRIx64 "\n", exit.pa, dirty);
	tdp_vcpu_destroy(vcpu);
	tdp_mm_destroy(mm);
	tdp_emu_vcpu_destroy(cpu);
	tdp_emu_destroy(machine);
	env->rcu->thread_unregister();
	return exit.pa != (1u << 30) + 0x5000 || dirty != 1u << 5;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulated machine: configuration, capabilities and the backend operations.
 */
#include <stdlib.h>
#include <string.h>

#include "emu_int.h"

#define KNOWN_CAPS                                                                                 \
	(TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY | TDP_CAP_EXEC_ONLY | TDP_CAP_FAULT_INVALIDATES |  \
	 TDP_CAP_RANGE_FLUSH | TDP_CAP_WALKS_TABLES | TDP_CAP_FLUSH_ON_AGE | TDP_CAP_EXEC_BY_MODE)
/* What nested paging has never had. */
#define NOT_NPT (TDP_CAP_EXEC_ONLY | TDP_CAP_EXEC_BY_MODE)

const struct emu_arch *tdpi_emu_arch(uint32_t format)
{
	static const struct emu_arch *const archs[] = {
		&tdpi_emu_ept,
		&tdpi_emu_npt,
		&tdpi_emu_s2,
		&tdpi_emu_test,
	};

	for (size_t i = 0; i < sizeof(archs) / sizeof(archs[0]); i++) {
		if (archs[i]->format == format)
			return archs[i];
	}
	return NULL;
}

static uint8_t lesser(uint32_t configured, uint8_t of_format)
{
	return configured && configured < of_format ? (uint8_t)configured : of_format;
}

int tdpi_emu_caps(const struct tdp_emu_config *cfg, uint32_t format, struct tdp_backend_caps *caps)
{
	const struct emu_arch *arch = tdpi_emu_arch(format);
	uint32_t ad = TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY;

	if (!arch)
		return TDP_ENOTSUP;
	memset(caps, 0, sizeof(*caps));
	caps->size = (uint32_t)sizeof(*caps);
	arch->caps(caps);
	/* Nested paging without Accessed and Dirty has never been built. */
	if (format == TDP_FMT_NPT && cfg->without_caps & ad)
		return TDP_ENOTSUP;
	caps->flags |= cfg->with_caps & ~(format == TDP_FMT_NPT ? NOT_NPT : 0);
	caps->flags &= ~cfg->without_caps;
	if (!(caps->flags & TDP_CAP_HW_ACCESSED))
		caps->flags &= ~TDP_CAP_HW_DIRTY;
	/* EPT has them together (IA32_VMX_EPT_VPID_CAP bit 21). */
	if (format == TDP_FMT_EPT && (caps->flags & ad) != ad)
		caps->flags &= ~ad;
	if (cfg->leaf_levels)
		caps->leaf_levels &= cfg->leaf_levels;
	caps->max_levels = lesser(cfg->max_levels, caps->max_levels);
	if (format == TDP_FMT_EPT || format == TDP_FMT_NPT)
		caps->gpa_bits = caps->max_levels == 5 ? 52 : 48;
	else
		caps->max_levels = format == TDP_FMT_TEST ? 5 : 4;
	caps->gpa_bits = lesser(cfg->gpa_bits, caps->gpa_bits);
	caps->pa_bits = lesser(cfg->pa_bits, caps->pa_bits);
	caps->bbm_level = format == TDP_FMT_S2_4K ? (uint8_t)cfg->bbm_level : 0;
	return TDP_OK;
}

int tdpi_emu_load_regs(const struct tdp_backend_caps *caps, uint32_t format, const uint64_t hw[2],
		       struct emu_regs *regs)
{
	memset(regs, 0, sizeof(*regs));
	regs->arch = tdpi_emu_arch(format);
	if (!regs->arch)
		return TDP_ENOTSUP;
	regs->caps = caps->flags & ~(format == TDP_FMT_NPT ? NOT_NPT : 0);
	regs->leaf_levels = caps->leaf_levels;
	regs->output_bits = caps->pa_bits;
	regs->gpa_bits = caps->gpa_bits;
	if (regs->arch->load(regs, hw, caps))
		return TDP_EINVAL;
	/* A machine's guests cannot issue wider addresses than the machine has. */
	if (regs->input_bits > caps->gpa_bits)
		regs->input_bits = caps->gpa_bits;
	/* Formats never meet in one vCPU's TLB, even if their tags are equal. */
	regs->tag |= (uint64_t)format << 56;
	return TDP_OK;
}

static int config_copy(struct tdp_emu_config *to, const struct tdp_emu_config *cfg)
{
	const unsigned char *bytes = (const unsigned char *)cfg;

	*to = tdp_emu_config_default();
	if (!cfg)
		return TDP_OK;
	if (cfg->size < offsetof(struct tdp_emu_config, without_caps))
		return TDP_EINVAL;
	for (size_t i = sizeof(*to); i < cfg->size; i++) {
		if (bytes[i])
			return TDP_E2BIG;
	}
	memcpy(to, cfg, cfg->size < sizeof(*to) ? cfg->size : sizeof(*to));
	if (to->flags & ~(TDP_EMU_NO_TLB | TDP_EMU_CHECK_TWINS) || to->reserved ||
	    (to->with_caps | to->without_caps) & ~KNOWN_CAPS || to->with_caps & to->without_caps)
		return TDP_EINVAL;
	if ((to->leaf_levels && !(to->leaf_levels & 1)) || to->leaf_levels >> 5 ||
	    to->bbm_level > 2 || to->gpa_bits > 52 || to->pa_bits > 52)
		return TDP_EINVAL;
	/* Narrower than this is not a machine: the smallest block must fit. */
	if ((to->gpa_bits && to->gpa_bits < 13) || (to->pa_bits && to->pa_bits < 13))
		return TDP_EINVAL;
	if (to->max_levels && to->max_levels != 4 && to->max_levels != 5)
		return TDP_EINVAL;
	return TDP_OK;
}

int tdp_emu_create(const struct tdp_emu_config *cfg, struct tdp_emu **emu)
{
	struct tdp_emu_config copy;
	struct tdp_emu *e;
	int ret;

	if (!emu)
		return TDP_EINVAL;
	ret = config_copy(&copy, cfg);
	if (ret)
		return ret;
	e = calloc(1, sizeof(*e));
	if (!e)
		return TDP_ENOMEM;
	e->cfg = copy;
	if (tdpi_emu_gone_init(&e->gone)) {
		free(e);
		return TDP_ENOMEM;
	}
	pthread_mutex_init(&e->list_lock, NULL);
	pthread_mutex_init(&e->shared_lock, NULL);
	*emu = e;
	return TDP_OK;
}

void tdp_emu_destroy(struct tdp_emu *emu)
{
	if (!emu)
		return;
	tdpi_emu_gone_fini(&emu->gone);
	pthread_mutex_destroy(&emu->list_lock);
	pthread_mutex_destroy(&emu->shared_lock);
	free(emu);
}

/* The callback runs with the vCPU's lock held: it may not call the emu. */
void tdpi_emu_violation(struct tdp_emu_vcpu *v, const char *what, tdp_gpa_t gpa, tdp_pa_t pa)
{
	v->st.violations++;
	if (v->emu->cfg.violation)
		v->emu->cfg.violation(v->emu->cfg.violation_arg, what, gpa, pa);
}

int tdp_emu_forbid(struct tdp_emu *emu, tdp_pa_t pa, uint64_t size)
{
	return emu ? tdpi_emu_gone_set(&emu->gone, pa, size, true) : TDP_EINVAL;
}

int tdp_emu_allow(struct tdp_emu *emu, tdp_pa_t pa, uint64_t size)
{
	return emu ? tdpi_emu_gone_set(&emu->gone, pa, size, false) : TDP_EINVAL;
}

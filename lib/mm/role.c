/* SPDX-License-Identifier: BSD-2-Clause */
/* The role word: one list of fields makes it, takes it apart and explains differences. */
#include "mm/mm.h"
#include "mm/text.h"

#include "engine/engine.h"

/* name, first bit, width. Every field has exactly one source, in tdp_role_root(). */
#define ROLE_FIELDS(X)                                                                             \
	X(level, 0, 4)                                                                             \
	X(format, 4, 4)                                                                            \
	X(as_id, 8, 8)                                                                             \
	X(hw_accessed, 16, 1)                                                                      \
	X(hw_dirty, 17, 1)                                                                         \
	X(direct, 18, 1)                                                                           \
	X(access, 19, 4)                                                                           \
	X(levels, 23, 4)

enum {
#define X(name, shift, width) SHIFT_##name = (shift), MAX_##name = (1 << (width)) - 1,
	ROLE_FIELDS(X)
#undef X
};
TDPI_STATIC_ASSERT(TDP_LEVELS_MAX <= MAX_levels && TDP_AS_MAX <= MAX_as_id &&
			   TDP_FMT_COUNT <= MAX_format,
		   "each field holds all its values");
#define X(name, shift, width)                                                                      \
	TDPI_STATIC_ASSERT((shift) + (width) <= 32, "tdpi_table.role holds it");
ROLE_FIELDS(X)
#undef X

#define FIELD(name, value) ((tdp_role_t)((value)&MAX_##name) << SHIFT_##name)
#define GET(role, name) ((uint32_t)((role) >> SHIFT_##name) & MAX_##name)

tdp_role_t tdp_role_root(const struct tdp_mm *mm, uint32_t as_id)
{
	if (!mm || as_id >= TDP_AS_MAX)
		return 0;
	return FIELD(level, mm->levels - 1) | FIELD(format, mm->format) | FIELD(as_id, as_id) |
	       FIELD(hw_accessed, (mm->ad & 1) != 0) | FIELD(hw_dirty, (mm->ad & 2) != 0) |
	       FIELD(direct, 1) | FIELD(access, TDP_RWX) | FIELD(levels, mm->levels);
}

tdp_role_t tdp_role_at(tdp_role_t role, uint32_t level)
{
	return (role & ~FIELD(level, MAX_level)) | FIELD(level, level);
}

uint32_t tdp_role_level(tdp_role_t role)
{
	return GET(role, level);
}

uint32_t tdp_role_as(tdp_role_t role)
{
	return GET(role, as_id);
}

int tdp_role_diff(tdp_role_t a, tdp_role_t b, char *buf, size_t len)
{
	struct tdpi_text t;

	if (!buf && len)
		return TDP_EINVAL;
	tdpi_text_init(&t, buf, len);
#define X(name, shift, width)                                                                      \
	if (GET(a, name) != GET(b, name)) {                                                        \
		tdpi_text_str(&t, t.length ? ", " #name " " : #name " ");                          \
		tdpi_text_u64(&t, GET(a, name));                                                   \
		tdpi_text_str(&t, " != ");                                                         \
		tdpi_text_u64(&t, GET(b, name));                                                   \
	}
	ROLE_FIELDS(X)
#undef X
	return tdpi_text_end(&t);
}

int tdp_pick_levels(enum tdp_format format, const struct tdp_backend_caps *caps, uint32_t gpa_bits,
		    uint32_t forced)
{
	const struct tdpi_engine *engine = tdpi_engine_of(format);
	int levels;

	if (!engine || !caps)
		return TDP_EINVAL;
	if (gpa_bits > caps->gpa_bits || gpa_bits > engine->gpa_bits_max)
		return TDP_ERANGE;
	levels = engine->levels(gpa_bits, forced);
	if (levels > 0 && caps->max_levels && levels > caps->max_levels)
		return TDP_ERANGE;
	return levels;
}

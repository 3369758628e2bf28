/* SPDX-License-Identifier: BSD-2-Clause */
/* A user of the core alone: header and library agree, and the library answers. */
#include <stdio.h>
#include <string.h>

#include <tdp/decode.h>
#include <tdp/tdp.h>
#include <tdp/walk.h>

int main(void)
{
	struct tdp_mm_config cfg = tdp_mm_config_default();
	struct tdp_mm *mm = NULL;

	if (tdp_version_number() != TDP_VERSION_NUMBER)
		return 1;
	if (strcmp(tdp_status_name(TDP_ENOMEM), "TDP_ENOMEM"))
		return 2;
	/* No environment and no backend: refused, and nothing made. */
	if (tdp_mm_create(&cfg, &mm) != TDP_EINVAL || mm)
		return 3;
	printf("libtdp %u\n", tdp_version_number());
	return 0;
}

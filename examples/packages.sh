# SPDX-License-Identifier: BSD-2-Clause
# Sourced by the scripts here: install a Debian package when what it provides is missing.

# As root, whoever we are.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

install_packages() {
	if ! command -v apt-get >/dev/null; then
		echo "missing, and no apt-get here; please install: $*" >&2
		exit 1
	fi
	if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
		echo "missing, and you are not root; please: apt-get install $*" >&2
		exit 1
	fi
	echo "installing: $*" >&2
	# The lists may be absent (a container) or old.
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
		--no-install-recommends "$@" >/dev/null 2>&1 && return
	as_root apt-get update -q >/dev/null
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
		--no-install-recommends "$@" >/dev/null
}

# need COMMAND PACKAGE
need() {
	command -v "$1" >/dev/null || install_packages "$2"
}

# SPDX-License-Identifier: BSD-2-Clause
# Sourced by scripts that build: Debian packages that are missing are installed, if that is permitted.

# install_packages LOG PACKAGE...
install_packages()
{
	log=$1 missing=''
	shift
	command -v dpkg-query >/dev/null || { echo "not Debian: packages are yours to install"; return; }
	for package; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' ||
			missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	sudo=''
	if [ "$(id -u)" != 0 ]; then
		sudo -n true 2>/dev/null || { echo "missing, and no right to install:$missing"; return; }
		sudo='sudo -n'
	fi
	echo "installing$missing"
	# What still is missing shows where it is needed: a failed build, a skipped test.
	# shellcheck disable=SC2086
	{ $sudo apt-get -q update && $sudo env DEBIAN_FRONTEND=noninteractive \
		apt-get -q install -y --no-install-recommends $missing; } >"$log" 2>&1 ||
		{ echo "installing failed:"; tail -n 20 "$log"; }
}

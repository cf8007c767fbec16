# shellcheck shell=sh disable=SC1090,SC2013
# A stand-in for OpenWrt's /lib/functions.sh: what the scripts of an .ipk and an .apk call.
# opkg's call the two with their own path and arguments; apk's have set pkgname. The
# list of the package's files is where each package manager keeps it.

add_group_and_user() { :; }

# run_services SCRIPT NAME STEPS... runs the package's own script, which only an .ipk
# has apart, then takes the steps with the services it brought.
run_services() {
	local info="${1%.*}" own="$2" service step
	shift 2
	[ -n "$pkgname" ] && info="/lib/apk/packages/$pkgname"
	[ ! -f "$info.$own-pkg" ] || (. "$info.$own-pkg")
	for service in $(grep '^/etc/init.d/' "$info.list"); do
		for step; do
			"$service" "$step"
		done
	done
}

# default_postinst enables and starts, default_prerm does the reverse; an upgrade leaves
# enabled what is.
default_postinst() {
	if [ "$PKG_UPGRADE" = 1 ]; then
		run_services "$1" postinst start
	else
		run_services "$1" postinst enable start
	fi
}
default_prerm() {
	if [ "$PKG_UPGRADE" = 1 ]; then
		run_services "$1" prerm stop
	else
		run_services "$1" prerm disable stop
	fi
}

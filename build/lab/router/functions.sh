# shellcheck shell=sh disable=SC1090,SC2013
# A stand-in for OpenWrt's /lib/functions.sh: what the scripts of an .ipk call.

# default_postinst SCRIPT ARGS... runs the package's own script, then enables and
# starts the services it brought.
default_postinst() {
	local info="${1%.postinst}" service
	[ ! -f "$info.postinst-pkg" ] || (. "$info.postinst-pkg")
	for service in $(grep '^/etc/init.d/' "$info.list"); do
		"$service" enable
		"$service" start
	done
}

# default_prerm SCRIPT ARGS... does the reverse.
default_prerm() {
	local info="${1%.prerm}" service
	[ ! -f "$info.prerm-pkg" ] || (. "$info.prerm-pkg")
	for service in $(grep '^/etc/init.d/' "$info.list"); do
		"$service" disable
		"$service" stop
	done
}

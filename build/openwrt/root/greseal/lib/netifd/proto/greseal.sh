#!/bin/sh
# netifd's handler of interfaces with proto greseal. The daemon reads their
# settings itself and tells netifd when a tunnel is up: nothing passes through
# here but the interface's name. Options are declared so that a change of one has
# netifd set the interface up anew. Secrets are not: netifd hands what is declared
# to this script as an argument, which every user can read.

# shellcheck source=/dev/null
[ -n "$INCLUDE_ONLY" ] || {
	. /lib/functions.sh
	. ../netifd-proto.sh
	init_proto "$@"
}

# shellcheck disable=SC2034 # netifd-proto.sh reads the flags
proto_greseal_init_config() {
	local option
	no_device=1
	available=1
	no_proto_task=1
	lasterror=1
	# BEGIN GENERATED options
	for option in remote_port local psk_file cert key raw_key peer_raw_key local_id remote_id ppk_id \
		ppk_file ppk_required mode encap pfs ike_lifetime child_lifetime child_bytes child_packets reauth \
		replay_window dpd dpd_suspect dpd_dead failback table fwmark fallback mtu mss_clamp gre_type \
		gre_bridge gre_key gre_local gre_remote gre_ttl gre_tos gre_keepalive gre_sequence gre_checksum \
		gre_ignore_df zone; do
		proto_config_add_string "$option"
	done
	for option in remote ca crl ike esp address routes; do
		proto_config_add_array "$option"
	done
	# END GENERATED
	proto_config_add_defaults
}

proto_greseal_setup() {
	local config="$1" code
	code="$(/usr/sbin/greseal uci netifd setup "$config")" && return 0
	if [ "$code" = DAEMON_DOWN ]; then
		# It finds the interface when it starts, and tells netifd then.
		/etc/init.d/greseal enabled && /etc/init.d/greseal start
		return 0
	fi
	proto_notify_error "$config" "${code:-SETUP_FAILED}"
	proto_block_restart "$config"
	proto_setup_failed "$config"
	return 1
}

proto_greseal_teardown() {
	/usr/sbin/greseal uci netifd teardown "$1"
}

[ -n "$INCLUDE_ONLY" ] || add_protocol greseal

'use strict';
/* The router behind the browser: ubus by JSON-RPC as uhttpd and rpcd offer it.
 * Calls to luci.greseal run the real binary as rpcd runs a plugin; uci works on
 * real files through the staging that rpcd does; the rest answers what an idle
 * router with the tunnels' interfaces would. A call that no ACL grants fails as
 * rpcd's does, and is held against the page. */

const fs = require('fs');
const path = require('path');
const { spawn } = require('child_process');

const uci = require('./uci.js');

/* The ACLs of the packages, and of luci-base what these pages use. */
const base = {
	'luci-base': { read: {
		ubus: {
			luci: [ 'getFeatures' ], uci: [ 'get', 'changes', 'state' ], session: [ 'access' ], file: [ 'list', 'read', 'stat' ],
			'luci-rpc': [ '*' ], network: [ 'get_proto_handlers' ], 'network.interface': [ 'dump' ], system: [ 'board', 'info' ],
			iwinfo: [ '*' ], 'network.device': [ 'status' ]
		} },
		write: { ubus: { uci: [ 'add', 'set', 'delete', 'rename', 'order', 'apply', 'confirm', 'revert' ] } } }
};

function grants(acls, readonly) {
	const granted = [];

	for (const acl of [ base, ...acls ])
		for (const group of Object.values(acl))
			for (const part of readonly ? [ 'read' ] : [ 'read', 'write' ])
				for (const [ object, methods ] of Object.entries((group[part] || {}).ubus || {}))
					granted.push(...methods.map(m => object + '.' + m));

	return (object, method) => granted.includes(object + '.' + method) || granted.includes(object + '.*');
}

class Router {
	/* plugin: argv that runs the binary as luci.greseal; folder: of the UCI files;
	 * acls: parsed ACL files; interfaces: ubus' network.interface dump. */
	constructor(o) {
		Object.assign(this, { readonly: false, faults: [], calls: [] }, o);
		this.staged = new uci.Staging(o.folder);
	}

	/* one JSON-RPC request */
	async answer(msg) {
		const reply = { jsonrpc: '2.0', id: msg.id };

		if (msg.method != 'call' || !Array.isArray(msg.params) || msg.params.length != 4)
			return Object.assign(reply, { error: { code: -32600, message: 'Invalid request' } });

		const [ , object, method, args ] = msg.params;

		this.calls.push(object + '.' + method + (args.history ? ' with history' : ''));

		if (!grants(this.acls, this.readonly)(object, method)) {
			this.faults.push('access denied: ' + object + '.' + method);
			return Object.assign(reply, { error: { code: -32002, message: 'Access denied' } });
		}

		try {
			const value = await this.call(object, method, args);

			return Object.assign(reply, { result: value === undefined ? [ 0 ] : [ 0, value ] });
		}
		catch (e) {
			if (typeof(e) == 'number') /* a ubus status */
				return Object.assign(reply, { result: [ e ] });

			this.faults.push(object + '.' + method + ': ' + (e.stack || e));
			return Object.assign(reply, { result: [ 2 ] });
		}
	}

	changes() { return this.staged.changes; }
	revert() { this.staged.revert(); }

	/* what Save & Apply comes to: the files are written, and the daemon reads them */
	apply() {
		this.staged.commit();
		this.lab.daemon.kill('SIGHUP');
	}

	call(object, method, args) {
		if (object == 'luci.greseal')
			return this.greseal(method, args);

		const fn = this[(object + '_' + method).replace(/\W/g, '_')];

		if (!fn)
			throw new Error('nothing here answers it');

		return fn.call(this, args);
	}

	/* runs the plugin as rpcd does: arguments and session on standard input, one
	 * object on standard output. */
	greseal(method, args) {
		if (this.played && this.played[method])
			return this.played[method](args);

		return new Promise((resolve, reject) => {
			const child = spawn(this.plugin[0], [ ...this.plugin.slice(1), 'call', method ], { stdio: [ 'pipe', 'pipe', 'ignore' ] });
			let out = '';

			child.stdout.on('data', b => out += b);
			child.on('error', reject);
			child.on('close', () => {
				try {
					const value = JSON.parse(out);

					if (/5e55104/.test(out))
						throw new Error('the session is in the answer');

					resolve(value);
				}
				catch (e) { reject(new Error(e.message + ': ' + out.slice(0, 200))); }
			});
			child.stdin.end(JSON.stringify(Object.assign({ ubus_rpc_session: '5e55104' }, args)));
		});
	}

	luci_getFeatures() { return { features: { firewall4: true, ipv6: true, vrf: true, bonding: true } }; }
	session_access(a) { return { access: !this.readonly || a.function != 'write' }; }
	file_list({ path: name }) { throw 4; }
	file_stat() { throw 4; }
	file_read({ path: name }) {
		if (name == '/etc/iproute2/rt_tables')
			return { data: '254 main\n' };
		throw 4;
	}

	system_board() { return { hostname: 'OpenWrt' }; }
	system_info() { return {}; }
	network_get_proto_handlers() {
		return this.handlers || { static: { no_device: false }, greseal: { no_device: true } };
	}
	network_interface_dump() { return { interface: this.interfaces() }; }
	network_device_status() { return {}; }
	luci_rpc_getNetworkDevices() { return {}; }
	luci_rpc_getWirelessDevices() { return {}; }
	luci_rpc_getBoardJSON() { return { network: {} }; }
	luci_rpc_getHostHints() { return {}; }
	luci_rpc_getDSLStatus() { throw 4; }

	uci_get({ config, section, option }) {
		if (!config)
			throw 2;
		return { values: this.staged.load(config) };
	}
	uci_state(a) { return this.uci_get(a); }
	uci_changes() { return { changes: this.staged.changes }; }
	uci_add({ config, type, name, values }) { return { section: this.staged.add(config, type, name, values || {}) }; }
	uci_set({ config, section, values }) { this.staged.set(config, section, values); }
	uci_delete({ config, section, option, options }) { this.staged.remove(config, section, options || (option ? [ option ] : null)); }
	uci_order() {}
	uci_apply() { this.staged.commit(); }
	uci_confirm() {}
	uci_revert() { this.staged.revert(); }
}

module.exports = { Router };

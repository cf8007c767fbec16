'use strict';
'require baseclass';
'require rpc';
'require uci';

/* The stand-in's network model: interfaces, and the protocols of /protocol that
 * netifd has a handler for. */

const callDump = rpc.declare({ object: 'network.interface', method: 'dump', expect: { interface: [] }, reject: true });
const callHandlers = rpc.declare({ object: 'network', method: 'get_proto_handlers', expect: { '': {} }, reject: true });

const NetworkDevice = (name, extend) => new (baseclass.extend(Object.assign({ getName: () => name, getType: () => 'ethernet' }, extend)))();

const protocols = {}, errors = {};
let dump = [];

const Protocol = baseclass.extend({
	__init__(name) { this.sid = name; },
	_ubus(field) { const i = dump.filter(i => i.interface == this.sid)[0]; return i ? i[field] : null; },
	getName() { return this.sid; },
	getI18n() { return this.getProtocol(); },
	getDevice() { return null; },
	getL3Device() { const name = this._ubus('l3_device'); return name ? NetworkDevice(name) : null; },
	async isCreateable() { return null; },
	getProtocol() { return this._ubus('proto') || uci.get('network', this.sid, 'proto'); },
	isUp() { return this._ubus('up') === true; },
	getIPAddr() { const a = (this._ubus('ipv4-address') || [])[0]; return a ? a.address : null; },
	getIP6Addr() { const a = (this._ubus('ipv6-address') || [])[0]; return a ? a.address : null; },
	getErrors() { return (this._ubus('errors') || []).map(e => errors[e.code] || 'Unknown error (' + e.code + ')'); },
	renderFormOptions() {}
});

const Network = baseclass.extend({
	async init() {
		await uci.load('network');
		dump = await callDump();
		for (const p of Object.keys(await callHandlers()))
			await L.require('protocol.' + p).catch(e => { if (e.name != 'NetworkError') L.error(e); });
	},

	async flush() { dump = await callDump(); },

	registerProtocol(name, methods) {
		for (const k of [ 'getI18n', 'getIfname', 'getPackageName', 'getOpkgPackage', 'isFloating', 'isVirtual', 'getDevices', 'containsDevice', 'renderFormOptions' ])
			if (typeof(methods[k]) != 'function')
				throw new TypeError('a protocol without ' + k);
		return protocols[name] = Protocol.extend(Object.assign({}, methods, { getProtocol: () => name }));
	},

	registerErrorCode(code, message) {
		if (typeof(code) != 'string' || typeof(message) != 'string' || errors[code])
			return false;
		errors[code] = message;
		return true;
	},

	registerPatternVirtual() {},
	instantiateDevice: (name, network, extend) => NetworkDevice(name, extend),
	getIfnameOf: o => typeof(o) == 'string' ? o : o.getIfname(),
	getProtocols: () => Object.values(protocols).map(P => new P('__dummy__')),
	getProtocol: (name, sid) => protocols[name] ? new protocols[name](sid || '__dummy__') : null,
	getNetwork(sid) { const s = uci.get('network', sid); return s ? this.getProtocol(s.proto, sid) : null; },
	async getWANNetworks() { return dump.filter(i => (i.route || []).some(r => r.target == '0.0.0.0' && r.mask == 0)).map(i => new Protocol(i.interface)); },
	async getWAN6Networks() { return []; },
	getNetworks() {
		const written = uci.sections('network', 'interface').map(s => this.getNetwork(s['.name'])).filter(n => n);

		return [ ...written, ...dump.filter(i => !uci.get('network', i.interface)).map(i => new Protocol(i.interface)) ];
	}
});

return Network.extend({ __init__() {} });

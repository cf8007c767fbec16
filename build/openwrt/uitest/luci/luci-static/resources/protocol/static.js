'use strict';
'require network';

/* Any other protocol. */

return network.registerProtocol('static', {
	getI18n: () => 'Static address',
	getIfname() { return this._ubus('l3_device'); },
	getPackageName: () => null,
	getOpkgPackage: () => null,
	isFloating: () => false,
	isVirtual: () => false,
	getDevices: () => [],
	containsDevice: () => false,
	renderFormOptions() {}
});

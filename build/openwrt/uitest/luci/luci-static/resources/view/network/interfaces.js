'use strict';
'require dom';
'require form';
'require network';
'require uci';
'require ui';
'require view';

/* The stand-in's page of interfaces: a table, and the dialog that a protocol puts
 * its options into, between those that every protocol has. */

return view.extend({
	load() { return network.init(); },

	render() {
		this.box = E('div', { 'class': 'cbi-section' });
		this.list();
		return E('div', { 'class': 'cbi-map' }, [ E('h2', {}, [ 'Interfaces' ]), this.box, E('div', { 'class': 'right' }, [
			E('button', { 'class': 'btn cbi-button cbi-button-add', 'data-add': '', click: () => this.add() }, [ 'Add new interface...' ]), ' ',
			E('button', { 'class': 'btn cbi-button cbi-button-apply', 'data-apply': '', click: ui.createHandlerFn(this, () => uci.apply()) }, [ 'Save & Apply' ])
		]) ]);
	},

	list() {
		dom.content(this.box, [ E('table', { 'class': 'table' }, network.getNetworks().map((n, i) =>
			E('tr', { 'class': 'tr cbi-rowstyle-' + (1 + i % 2), 'data-section-id': n.getName() }, [
				E('td', { 'class': 'td', 'data-device': n.getDevice() ? n.getDevice().getName() + ', ' + n.getDevice().getType() : '' }, [ E('strong', {}, [ n.getName() ]) ]),
				E('td', { 'class': 'td' }, [ n.getI18n(), ', ', n.isUp() ? 'up' : 'down', ...n.getErrors().map(e => E('div', { 'data-error': '' }, [ e ])) ]),
				E('td', { 'class': 'td cbi-section-actions' }, [ E('button', { 'class': 'btn cbi-button cbi-button-edit', click: () => this.edit(n.getName()) }, [ 'Edit' ]) ])
			]))) ]);
	},

	add() {
		const name = E('input', { type: 'text', 'data-new-name': '' });
		const proto = E('select', { 'data-new-proto': '' }, network.getProtocols().map(p => E('option', { value: p.getProtocol() }, [ p.getI18n() ])));

		ui.showModal('Add new interface...', [ name, ' ', proto, E('div', { 'class': 'right' }, [
			E('button', { 'class': 'btn cbi-button cbi-button-positive', click: ui.createHandlerFn(this, async () => {
				const refused = await network.getProtocol(proto.value, name.value).isCreateable(name.value);

				if (refused != null) {
					ui.hideModal();
					return ui.addNotification(null, [ E('p', {}, [ 'New interface can not be created: ', refused ]) ]);
				}
				uci.add('network', 'interface', name.value);
				uci.set('network', name.value, 'proto', proto.value);
				await uci.save();
				await uci.load('network');
				await this.edit(name.value);
			}) }, [ 'Create interface' ])
		]) ], 'cbi-modal');
	},

	async edit(sid) {
		const ifc = network.getNetwork(sid), m = new form.Map('network'), s = m.section(form.NamedSection, sid, 'interface');
		let o;

		s.tab('general', 'General Settings');
		s.tab('advanced', 'Advanced Settings');
		s.tab('firewall', 'Firewall Settings');

		o = s.taboption('general', form.ListValue, 'proto', 'Protocol');
		network.getProtocols().forEach(p => o.value(p.getProtocol(), p.getI18n()));
		s.taboption('general', form.Flag, 'disabled', 'Disable this interface');
		o = s.taboption('general', form.Flag, 'auto', 'Bring up on boot');
		o.default = o.enabled;

		s.taboption('firewall', form.Value, '_zone', 'Create / Assign firewall-zone').load = () => null;

		ifc.renderFormOptions(s);

		o = s.replace('advanced', form.Flag, 'defaultroute', 'Use default gateway');
		o.default = o.enabled;
		s.replace('advanced', form.Value, 'metric', 'Use gateway metric');
		o = s.replace('advanced', form.ListValue, 'multipath', 'Multi-Path TCP');
		[ 'off', 'on' ].forEach(k => o.value(k));
		s.replace('advanced', form.Value, 'ip4table', 'Override IPv4 routing table');

		for (const o of s.children)
			if (![ 'proto', 'auto', '_zone' ].includes(o.option)) {
				if (!o.deps.length)
					o.deps.push({});
				o.deps.forEach(d => d.proto = ifc.getProtocol());
			}

		const nodes = await m.render();

		ui.showModal('Interfaces » ' + sid, [ nodes, E('div', { 'class': 'right' }, [
			E('button', { 'class': 'btn cbi-button', click: () => ui.hideModal() }, [ 'Dismiss' ]), ' ',
			/* A form that does not save stays open; LuCI tells nobody why. */
			E('button', { 'class': 'btn cbi-button cbi-button-positive important', disabled: m.readonly || null,
				click: ui.createHandlerFn(this, () => m.save().then(() => { ui.hideModal(); this.list(); }, () => {})) }, [ 'Save' ])
		]) ], 'cbi-modal');
		m.checkDepends();
	},

	handleSave: null,
	handleSaveApply: null,
	handleReset: null
});

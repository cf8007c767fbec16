'use strict';
'require baseclass';
'require dom';
'require greseal.look as look';
'require rpc';
'require ui';

/* The details of one tunnel, in a dialog with tabs. */

const object = 'luci.greseal';
const callStatus = rpc.declare({ object, method: 'status', params: [ 'tunnel' ], expect: { '': {} } });
const callEvents = rpc.declare({ object, method: 'events', params: [ 'tunnel', 'last' ], expect: { '': {} } });
const callHandshakes = rpc.declare({ object, method: 'handshakes', params: [ 'tunnel' ], expect: { '': {} } });
const callPeerConfig = rpc.declare({ object, method: 'peer_config', params: [ 'tunnel', 'vendor' ], expect: { '': {} } });

const { green, blue, drops, small, line, code, row, table, span, clock, badge, facts, alarm, reason, contention, unequal, problem, dismiss } = look;

const placed = p => p.in_place ? p.prefix : '%s (%s)'.format(p.prefix, p.why || _('not in place'));
const lines = list => list.map(l => line(l));

function aboutTunnel(t) {
	return facts([
		[ _('State'), [ badge(t), ' ', small(_('since %s').format(clock(t.since))) ] ],
		[ _('Written in'), t.source ],
		[ _('Interface'), t.interface.index ? [ '%s (%s)'.format(t.interface.name, t.interface.kind), t.interface.up ? '' : ', ' + _('set down') ] : _('not there') ],
		[ _('Bridge'), t.interface.bridge ],
		[ _('Addresses'), lines(t.addresses.map(placed)) ],
		[ _('Routes'), lines(t.routes.map(placed)) ],
		[ _('Times up since the daemon started'), '%d'.format(t.up_count) ],
		[ _('Attempts'), t.attempts ? String(t.attempts) : null ]
	].filter(f => !Array.isArray(f[1]) || f[1].length));
}

function aboutSecurity(t, now) {
	const nat = t.ike ? [
		t.ike.nat_local ? _('before this router') : null, t.ike.nat_remote ? _('before the other side') : null,
		t.ike.encap_forced && !t.ike.nat_local && !t.ike.nat_remote ? _('none found; UDP encapsulation is forced by this side') : null
	].filter(s => s) : [];

	return facts([
		[ _('Other side'), t.peer.address || t.peer.configured.join(', ') ],
		[ _('Own address'), t.peer.local_address ],
		[ _('Identities'), [ line(_('own'), ': ', t.peer.local_id || '-'), line(_('other side'), ': ', t.peer.remote_id, t.peer.proved ? ' ' + _('(proved)') : '') ] ],
		[ _('Authentication'), t.peer.auth_detail || t.peer.auth ],
		[ _('Last heard'), t.peer.last_heard ? _('%s ago').format(span(t.peer.last_heard, now)) : null ],
		[ 'IKE SA', t.ike ? [ line(t.ike.suite_iana), line(small(_('%s old, new keys in %s').format(span(t.ike.established, now), t.ike.rekey ? span(now, t.ike.rekey) : '-'))),
			line(small('SPI '), code(t.ike.spi_i + ' / ' + t.ike.spi_r)) ] : null ],
		[ 'Child SA', t.child ? [ line(t.child.suite_iana), line(small(_('%s old, new keys in %s').format(span(t.child.established, now), t.child.rekey ? span(now, t.child.rekey) : '-'))),
			line(small('SPI '), code(t.child.spi_in + ' / ' + t.child.spi_out)), line(code(t.child.selector_local)), line(code(t.child.selector_remote)) ] : null ],
		[ 'NAT', nat.length ? nat.join(', ') : null ],
		[ _('Encapsulation'), t.outside.encap ? [ line(t.outside.encap == 'udp' ? _('ESP in UDP') : 'ESP', ', ', t.outside.mode || t.outside.mode_asked), line(small(t.outside.encap_why)) ] : null ],
		[ _('GRE endpoints'), t.outside.gre_local ? '%s, %s'.format(t.outside.gre_local, t.outside.gre_remote) : null ],
		[ _('GRE key'), t.outside.gre_key ]
	]);
}

const deciders = { own: _('this side'), peer: _('the other side'), configured: _('the configuration') };

/* whose MTU the interface has, where the other side tells its own */
function aboutBothMTUs(m) {
	if (m.differs)
		return [ E('div', { 'class': 'alert-message warning' }, unequal(m)) ];

	return m.peer ? [ E('p', { 'data-mtu': m.decides }, [
		_('%d fit here and %d at the other side. Decided by: %s.').format(m.own, m.peer, deciders[m.decides] || m.decides)
	]) ] : [];
}

function aboutTraffic(t) {
	const lost = drops.filter(([ k ]) => t.drops[k]);
	const amount = v => _('packets: %d').format(v.packets) + ', %1024.2mB'.format(v.bytes);

	return [
		facts([ [ _('in'), amount(t.in) ], [ _('out'), amount(t.out) ] ]),
		E('h4', {}, [ _('Dropped packets') ]),
		lost.length ? facts(lost.map(([ k, title ]) => [ title, String(t.drops[k]) ])) : E('p', {}, [ E('em', {}, [ _('none', 'packets') ]) ]),
		E('h4', {}, [ 'MTU' ]),
		t.mtu.bytes ? facts(t.mtu.sum.map(s => [ s.name, String(s.bytes) ]).concat([ [ _('largest packet inside'), [ E('strong', {}, [ String(t.mtu.bytes) ]) ] ] ])) : '',
		E('p', {}, [ t.mtu.why ]),
		...aboutBothMTUs(t.mtu)
	];
}

const aboutEvents = list => table([ _('Time'), _('Event') ], list.slice().reverse().map(e =>
	row(E('td', { 'class': 'td', 'data-title': _('Time'), 'style': 'white-space:nowrap' }, [ clock(e.time) ]), [ _('Event'), e.text ])), _('none yet'));

/* the latest handshakes, message by message, as they were */
const aboutHandshakes = list => table([ _('Time'), _('Message') ], list.map(h => {
	const at = new Date(h.time * 1000 + h.millis), out = h.direction == 'sent';

	return row(
		E('td', { 'class': 'td', 'data-title': _('Time'), 'style': 'white-space:nowrap', 'title': at.toLocaleString() },
			[ at.toTimeString().slice(0, 8), '.', String(1000 + h.millis).slice(1) ]),
		E('td', { 'class': 'td', 'data-title': _('Message'), 'data-handshake': h.direction || 'outcome', 'style': 'text-align:left;overflow-wrap:anywhere' }, h.direction == ''
			? [ E('strong', {}, [ h.text ]) ]
			: [ E('details', {}, [
				E('summary', {}, [
					E('strong', { 'style': 'color:' + (out ? green : blue) }, [ out ? '▲ ' : '▼ ' ]), E('strong', {}, [ h.exchange ]), ' ',
					h.response ? _('response') : _('request'), ' %d, '.format(h.message_id), _('%d bytes').format(h.octets),
					h.fragments > 1 ? ' ' + _('in %d fragments').format(h.fragments) : ''
				]),
				...h.payloads.map(p => line(small(p)))
			]) ]));
}), _('none since the daemon was started'));

function tabs(list) {
	const node = E('div', {}, list.map(([ name, title, ...content ], i) =>
		E('div', { 'data-tab': name, 'data-tab-title': title, 'data-tab-active': i ? null : 'true' }, content)));

	const map = E('div', { 'class': 'cbi-map' }, [ node ]);

	ui.tabs.initTabGroup(node.childNodes); /* puts the menu before node */
	return map;
}

/* the other side's configuration, for the product it is */
function otherSide(t) {
	const out = E('div', { 'data-peerconfig': '' });
	const vendor = new ui.Select('strongswan', {
		strongswan: 'strongSwan', libreswan: 'libreswan', mikrotik: 'MikroTik RouterOS 7', cisco: 'Cisco IOS-XE', vyos: 'VyOS', openwrt: 'greseal on OpenWrt (UCI)', greseal: 'greseal elsewhere (TOML)'
	}, { sort: [ 'strongswan', 'libreswan', 'mikrotik', 'cisco', 'vyos', 'openwrt', 'greseal' ] });
	const show = () => L.resolveDefault(callPeerConfig(t.name, vendor.getValue()), {}).then(res =>
		dom.content(out, res.ok === true ? [ E('pre', {}, [ res.text ]) ] : problem(res)));
	const choice = vendor.render();

	choice.addEventListener('widget-change', show);

	return E('div', {}, [
		E('p', {}, [ _('The configuration that fits this tunnel, for the product on the other side. The key is left out.') ]),
		E('div', { 'class': 'cbi-value' }, [
			E('label', { 'class': 'cbi-value-title' }, [ _('Product') ]),
			E('div', { 'class': 'cbi-value-field' }, [
				choice, ' ',
				E('button', {
					'class': 'btn cbi-button cbi-button-action', 'data-action': 'peer',
					'click': ui.createHandlerFn(null, show)
				}, [ _('Show') ])
			])
		]),
		out
	]);
}

/* the tabs that tell of a tunnel, by name */
const contents = (t, now, events, handshakes) => ({
	tunnel: [
		...(t.reason ? [ E('div', { 'class': 'alert-message warning' }, reason(t)) ] : []),
		...(alarm(t).length ? [ E('div', { 'class': 'alert-message danger', 'data-alarm': '' }, alarm(t)) ] : []),
		...(t.contention ? [ E('div', { 'class': 'alert-message warning', 'data-contention': '' }, contention(t.contention, now)) ] : []),
		aboutTunnel(t)
	],
	security: [ aboutSecurity(t, now) ],
	traffic: aboutTraffic(t),
	events: [ aboutEvents(events.length ? events : t.events) ],
	handshakes: [ aboutHandshakes(handshakes) ]
});

const titles = { tunnel: _('Tunnel'), security: _('Security'), traffic: _('Traffic'), events: _('Events'), handshakes: _('Handshakes') };

const ask = name => Promise.all([ callStatus(name), callEvents(name, 100), callHandshakes(name) ].map(p => L.resolveDefault(p, {})));
const told = ([ res, events, shakes ]) => contents(res.tunnels[0], res.time, L.toArray(events.events), L.toArray(shakes.handshakes));

/* Brings the tabs up to date as long as they are open. A message that is being read
 * stays as it is, and so does an answer that was lost. */
function refresh(name, boxes) {
	window.setTimeout(() => {
		if (!boxes.tunnel.isConnected || !document.body.classList.contains('modal-overlay-active'))
			return;

		ask(name).then(res => {
			if (res[0].ok === true)
				for (const [ tab, content ] of Object.entries(told(res)))
					if (!boxes[tab].querySelector('details[open]'))
						dom.content(boxes[tab], content);

			refresh(name, boxes);
		});
	}, 5000);
}

return baseclass.extend({
	/* asks for all there is to know of a tunnel, and shows it */
	show(name) {
		return ask(name).then(res => {
			if (res[0].ok !== true)
				return ui.showModal(name, [ E('div', {}, problem(res[0])), dismiss() ], 'cbi-modal');

			const boxes = {};

			for (const [ tab, content ] of Object.entries(told(res)))
				boxes[tab] = E('div', {}, content);

			ui.showModal(name, [
				tabs([ ...Object.keys(boxes).map(tab => [ tab, titles[tab], boxes[tab] ]), [ 'peer', _('Other side'), otherSide(res[0].tunnels[0]) ] ]),
				dismiss()
			], 'cbi-modal');
			refresh(name, boxes);
		});
	}
});

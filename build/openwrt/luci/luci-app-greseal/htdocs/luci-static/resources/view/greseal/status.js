'use strict';
'require dom';
'require poll';
'require rpc';
'require ui';
'require view';

/* Status, GRE/IPsec: what greseal says of its tunnels. The facts come from the
 * plugin's method status and are called as in greseal status --json. */

const object = 'luci.greseal';
const call = (method, params) => rpc.declare({ object, method, params, expect: { '': {} } });

const callStatus = call('status');
const callUp = call('up', [ 'tunnel' ]);
const callDown = call('down', [ 'tunnel' ]);
const callRestart = call('restart', [ 'tunnel' ]);
const callConfirm = call('confirm');
const callRollback = call('rollback');
const callDoctorStart = call('doctor_start', [ 'tunnel' ]);
const callDoctorPoll = call('doctor_poll', [ 'job' ]);
const callEvents = call('events', [ 'tunnel', 'last' ]);
const callHandshakes = call('handshakes', [ 'tunnel' ]);
const callPeerConfig = call('peer_config', [ 'tunnel', 'vendor' ]);

const samples = 60; /* of a plot */

const green = '#2e9e5b', amber = '#d98a00', red = '#d0342c', grey = '#8a8f98', blue = '#3b82c4';

const states = {
	up: [ _('up'), green ],
	suspect: [ _('no answer'), amber ],
	connecting: [ _('connecting'), amber ],
	waiting: [ _('waiting'), amber ],
	listening: [ _('listening'), blue ],
	down: [ _('down'), red ],
	closing: [ _('closing'), grey ],
	disabled: [ _('off'), grey ]
};

const waits = {
	address: _('for the local address'),
	route: _('for a route to the other side'),
	name: _('for the host name of the other side'),
	interface: _('for the local interface')
};

const drops = [
	[ 'replay', _('repeated or too late') ],
	[ 'integrity', _('forged or damaged') ],
	[ 'selector', _('outside the selectors') ],
	[ 'malformed', _('malformed') ],
	[ 'no_sa', _('no security association') ],
	[ 'too_big', _('too large') ],
	[ 'queue', _('queue full') ]
];

const span = (...c) => E('span', {}, c);
const small = (...c) => E('small', {}, c);
const line = (...c) => E('div', {}, c);
const code = text => E('code', { 'style': 'overflow-wrap:anywhere' }, [ text ]);

/* Names and texts of others stand in lists, which LuCI takes as text; a bare
 * string would be taken as markup. */
function row(...cells) {
	return E('tr', { 'class': 'tr' }, cells.map(c => Array.isArray(c)
		? E('td', { 'class': 'td', 'data-title': c[0] }, c.slice(1)) : c));
}

function table(titles, rows, none) {
	return E('table', { 'class': 'table' }, [
		E('tr', { 'class': 'tr table-titles' }, titles.map(t => E('th', { 'class': 'th' }, [ t ])))
	].concat(rows.length ? rows.map((r, i) => {
		r.classList.add('cbi-rowstyle-%d'.format(1 + i % 2));
		return r;
	}) : [ E('tr', { 'class': 'tr placeholder' }, [ E('td', { 'class': 'td' }, [ E('em', {}, [ none ]) ]) ]) ]));
}

/* a time span in its two largest units */
function seconds(n) {
	n = Math.max(0, Math.round(n));

	if (n < 60)
		return _('%d s').format(n);
	if (n < 3600)
		return _('%d min %d s').format(n / 60, n % 60);
	if (n < 86400)
		return _('%d h %d min').format(n / 3600, n % 3600 / 60);
	return _('%d d %d h').format(n / 86400, n % 86400 / 3600);
}

const clock = unix => unix ? new Date(unix * 1000).toLocaleString() : '-';
const bits = n => (n < 1000) ? '%d bit/s'.format(n) : '%1000.1mbit/s'.format(n);

function svg(tag, attrs, ...children) {
	const node = document.createElementNS('http://www.w3.org/2000/svg', tag);

	for (const k in attrs)
		node.setAttribute(k, attrs[k]);

	children.forEach(c => node.appendChild(c));
	return node;
}

const dot = color => svg('svg', { width: 10, height: 10, viewBox: '0 0 10 10', 'aria-hidden': 'true' },
	svg('circle', { cx: 5, cy: 5, r: 4.5, fill: color }));

function badge(t) {
	const [ text, color ] = states[t.state] || [ t.state, grey ];

	return E('span', { 'class': 'ifacebadge', 'data-state': t.state, 'style': 'white-space:nowrap' }, [ dot(color), ' ', E('strong', {}, [ text ]) ]);
}

/* Where a tunnel is written, for people. */
function origin(t) {
	if (t.netifd)
		return _('network interface');

	const file = String(t.source).replace(/:\d+$/, '');

	return (file == '/etc/config/greseal') ? _('UCI, config tunnel') : file.replace(/^.*\//, '');
}

const postquantum = t => t.ike != null && /(^|-)(ke\d_)?mlkem/.test(t.ike.suite);

/* The rates of one tunnel, from one answer to the next. */
function Rates() {
	this.list = [];
}

Rates.prototype = {
	add(t, now) {
		const last = this.last, dt = last ? (now - last.now) / 1000 : 0;

		this.last = { now, i: t.in.bytes, o: t.out.bytes };

		if (!last || dt <= 0)
			return;

		/* Counters begin anew with the daemon. */
		this.list.push([ t.in.bytes - last.i, t.out.bytes - last.o ].map(d => Math.max(0, d) * 8 / dt));
		this.list = this.list.slice(-samples);
	},

	plot() {
		const w = 120, h = 32, top = Math.max(1000, ...this.list.flat());
		const points = k => this.list.map((v, i) =>
			'%d,%.1f'.format(w - (this.list.length - 1 - i) * w / (samples - 1), h - 1 - v[k] / top * (h - 3))).join(' ');
		const curve = (k, color) => svg('polyline', { points: points(k), fill: 'none', stroke: color, 'stroke-width': 1.5, 'stroke-linejoin': 'round' });

		return svg('svg', { width: w, height: h, viewBox: '0 0 %d %d'.format(w, h), role: 'img', 'aria-label': _('Throughput of the last minutes') },
			svg('line', { x1: 0, x2: w, y1: h - .5, y2: h - .5, stroke: 'currentColor', 'stroke-opacity': .3 }),
			curve(0, blue), curve(1, green));
	},

	text() {
		const [ i, o ] = this.list[this.list.length - 1] || [ 0, 0 ];

		return [
			E('span', { 'style': 'color:' + blue }, [ '▼' ]), ' ', bits(i), ' ',
			E('span', { 'style': 'color:' + green }, [ '▲' ]), ' ', bits(o)
		];
	}
};

const dropped = t => drops.reduce((n, [ k ]) => n + t.drops[k], 0);

/* The cells of a tunnel's row, each its children. */
const cells = {
	name: t => [ E('strong', {}, [ t.name ]), E('br'), small(origin(t)) ],

	state: t => {
		const out = [ badge(t), E('br'), small(_('since %s').format(seconds(t.in_state_s))) ];

		if (t.state == 'waiting')
			out.push(E('br'), small(waits[t.waiting_for] || t.waiting_for));
		else if (t.state != 'up' && t.next_attempt_in_s > 0)
			out.push(E('br'), small(_('next attempt in %s').format(seconds(t.next_attempt_in_s))));

		return out;
	},

	peer: t => {
		const out = [ t.peer.address || t.peer.configured.join(', ') ];

		if (t.peer.proved && out[0].indexOf(t.peer.remote_id) == -1)
			out.push(E('br'), small(t.peer.remote_id));

		if (t.state == 'suspect')
			out.push(E('br'), small(_('silent for %s').format(seconds(t.peer.silent_s))));

		return out;
	},

	security: t => {
		if (!t.ike)
			return [ '-' ];

		const out = [ small(t.ike.suite) ];

		if (t.child)
			out.push(E('br'), small('ESP ', t.child.suite));

		if (postquantum(t))
			out.push(E('br'), E('span', {
				'class': 'ifacebadge', 'data-postquantum': '', 'style': 'white-space:nowrap',
				'title': _('The key exchange withstands a quantum computer: what is recorded today cannot be read then.')
			}, [ dot(green), ' ', _('post-quantum') ]));

		if (t.child && t.child.rekey)
			out.push(E('br'), small(_('new keys in %s').format(seconds(t.child.rekey_in_s))));

		return out;
	},

	outside: t => {
		const out = [];

		if (t.outside.encap)
			out.push(E('span', { 'title': t.outside.encap_why }, [ t.outside.encap == 'udp' ? _('ESP in UDP') : 'ESP' ]), E('br'));

		if (t.mtu.bytes)
			out.push(E('span', { 'title': t.mtu.why }, [ 'MTU %d'.format(t.mtu.bytes) ]), E('br'), small({
				configured: _('as configured'), computed: _('computed'), searched: _('found by search')
			}[t.mtu.how] || t.mtu.how));

		return out.length ? out : [ '-' ];
	},

	traffic: (t, rates) => [
		rates.plot(), E('br'), small(...rates.text()), E('br'),
		small('▼ %1024.1mB ▲ %1024.1mB'.format(t.in.bytes, t.out.bytes)),
		...(dropped(t) ? [ E('br'), small(_('%d packets dropped').format(dropped(t))) ] : [])
	]
};

const titles = {
	name: _('Tunnel'), state: _('State'), peer: _('Other side'), security: _('Protection'), outside: _('Outside'), traffic: _('Throughput')
};

/* A row stays in the page while its tunnel is there, so that what is under the
 * mouse does not go away; its cells get new content with each answer. */
function Row(page, name) {
	this.page = page;
	this.name = name;
	this.rates = new Rates();
	this.cells = {};
	this.node = E('tr', { 'class': 'tr', 'data-tunnel': name });

	for (const k in cells)
		this.node.appendChild(this.cells[k] = E('td', { 'class': 'td', 'data-title': titles[k] }));

	this.actions = this.node.appendChild(E('td', { 'class': 'td cbi-section-actions' }));
	this.why = E('tr', { 'data-reason': name }, [ E('td', { 'class': 'td', 'colspan': 7, 'style': 'text-align:left' }) ]);
}

Row.prototype = {
	update(t, now) {
		this.rates.add(t, now);

		for (const k in cells)
			dom.content(this.cells[k], cells[k](t, this.rates));

		if (this.desired != t.desired) {
			this.desired = t.desired;
			dom.content(this.actions, this.page.buttons(t));
		}

		const sad = (t.state == 'down' || t.state == 'suspect' || t.state == 'waiting' || t.state == 'connecting') && t.reason;

		this.why.style.display = sad ? '' : 'none';

		if (sad)
			dom.content(this.why.firstChild, reason(t));
	}
};

/* why a tunnel is down, and what to do */
function reason(t) {
	const [ sign, color ] = (t.state == 'down') ? [ '✘ ', red ] : [ '… ', amber ];
	const out = [ line(E('strong', { 'style': 'color:' + color, 'aria-hidden': 'true' }, [ sign ]), t.reason) ];

	if (t.remedy && t.reason.indexOf(t.remedy) == -1)
		out.push(line(E('em', {}, [ _('What to do:'), ' ', t.remedy ])));

	return out;
}

function problem(res) {
	return [ E('p', {}, [ res.error || _('greseal gave no answer') ]) ]
		.concat(L.toArray(res.lines).map(l => E('pre', {}, [ l ])))
		.concat(res.remedy ? [ E('p', {}, [ E('em', {}, [ res.remedy ]) ]) ] : []);
}

const dismiss = text => E('div', { 'class': 'right' }, [
	E('button', { 'class': 'btn cbi-button', 'click': ui.hideModal }, [ text || _('Dismiss') ])
]);

const verdicts = {
	ok: [ '✔', green, _('in order') ],
	fault: [ '✘', red, _('fault') ],
	warning: [ '!', amber, _('warning') ],
	skipped: [ '–', grey, _('not examined') ]
};

/* one step of a diagnosis */
function finding(f) {
	const [ sign, color, title ] = verdicts[f.verdict] || verdicts.skipped;

	return row(E('td', { 'class': 'td', 'data-verdict': f.verdict, 'style': 'text-align:left;overflow-wrap:anywhere' }, [
		line(E('strong', { 'style': 'color:' + color, 'aria-hidden': 'true' }, [ sign ]), ' ', E('strong', {}, [ f.title ]), ': ', title),
		...f.evidence.map(e => line(e)),
		...(f.remedy ? [ line(E('em', {}, [ _('What to do:'), ' ', f.remedy ])) ] : []),
		...(f.commands.length ? [ E('pre', {}, [ f.commands.join('\n') ]) ] : [])
	]));
}

const facts = list => E('table', { 'class': 'table' }, list.filter(f => f[1] != null && f[1] !== '').map(([ k, v ], i) =>
	E('tr', { 'class': 'tr cbi-rowstyle-%d'.format(1 + i % 2) }, [
		E('td', { 'class': 'td', 'width': '33%', 'style': 'text-align:left' }, [ E('strong', {}, [ k ]) ]),
		E('td', { 'class': 'td', 'style': 'text-align:left;overflow-wrap:anywhere' }, Array.isArray(v) ? v : [ v ])
	])));

const placed = p => p.in_place ? p.prefix : '%s (%s)'.format(p.prefix, p.why || _('not in place'));
const lines = list => list.map(l => line(l));

function aboutTunnel(t) {
	return facts([
		[ _('State'), [ badge(t), ' ', small(_('since %s').format(clock(t.since))) ] ],
		[ _('Written in'), t.source ],
		[ _('Interface'), t.interface.index ? '%s (%s)'.format(t.interface.name, t.interface.kind) : _('not there') ],
		[ _('Bridge'), t.interface.bridge ],
		[ _('Addresses'), lines(t.addresses.map(placed)) ],
		[ _('Routes'), lines(t.routes.map(placed)) ],
		[ _('Came up'), _('%d times since the daemon started').format(t.up_count) ],
		[ _('Attempts'), t.attempts ? String(t.attempts) : null ]
	].filter(f => !Array.isArray(f[1]) || f[1].length));
}

function aboutSecurity(t) {
	const nat = t.ike ? [ t.ike.nat_local ? _('before this router') : null, t.ike.nat_remote ? _('before the other side') : null ].filter(s => s) : [];

	return facts([
		[ _('Other side'), t.peer.address || t.peer.configured.join(', ') ],
		[ _('Own address'), t.peer.local_address ],
		[ _('Identities'), [ line(_('own'), ': ', t.peer.local_id || '-'), line(_('other side'), ': ', t.peer.remote_id, t.peer.proved ? ' ' + _('(proved)') : '') ] ],
		[ _('Authentication'), t.peer.auth_detail || t.peer.auth ],
		[ _('Last heard'), t.peer.last_heard ? _('%s ago').format(seconds(t.peer.silent_s)) : null ],
		[ 'IKE SA', t.ike ? [ line(t.ike.suite_iana), line(small(_('%s old, new keys in %s').format(seconds(t.ike.age_s), t.ike.rekey ? seconds(t.ike.rekey_in_s) : '-'))),
			line(small('SPI '), code(t.ike.spi_i + ' / ' + t.ike.spi_r)) ] : null ],
		[ 'Child SA', t.child ? [ line(t.child.suite_iana), line(small(_('%s old, new keys in %s').format(seconds(t.child.age_s), t.child.rekey ? seconds(t.child.rekey_in_s) : '-'))),
			line(small('SPI '), code(t.child.spi_in + ' / ' + t.child.spi_out)), line(code(t.child.selector_local)), line(code(t.child.selector_remote)) ] : null ],
		[ 'NAT', nat.length ? nat.join(', ') : null ],
		[ _('Encapsulation'), t.outside.encap ? [ line(t.outside.encap == 'udp' ? _('ESP in UDP') : 'ESP', ', ', t.outside.mode || t.outside.mode_asked), line(small(t.outside.encap_why)) ] : null ],
		[ _('GRE endpoints'), t.outside.gre_local ? '%s, %s'.format(t.outside.gre_local, t.outside.gre_remote) : null ],
		[ _('GRE key'), t.outside.gre_key ]
	]);
}

function aboutTraffic(t) {
	const lost = drops.filter(([ k ]) => t.drops[k]);
	const amount = v => _('%d packets').format(v.packets) + ', %1024.2mB'.format(v.bytes);

	return [
		facts([ [ _('in'), amount(t.in) ], [ _('out'), amount(t.out) ] ]),
		E('h4', {}, [ _('Dropped packets') ]),
		lost.length ? facts(lost.map(([ k, title ]) => [ title, String(t.drops[k]) ])) : E('p', {}, [ E('em', {}, [ _('none') ]) ]),
		E('h4', {}, [ 'MTU' ]),
		t.mtu.bytes ? facts(t.mtu.sum.map(s => [ s.name, String(s.bytes) ]).concat([ [ _('largest packet inside'), [ E('strong', {}, [ String(t.mtu.bytes) ]) ] ] ])) : '',
		E('p', {}, [ t.mtu.why ])
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
					h.response ? _('response') : _('request'), ' %d, '.format(h.message_id), _('%d octets').format(h.octets),
					h.fragments > 1 ? _(' in %d fragments').format(h.fragments) : ''
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

return view.extend({
	load() {
		return L.resolveDefault(callStatus(), {});
	},

	render(first) {
		this.rows = {};
		this.notices = E('div');
		this.box = E('div', { 'class': 'cbi-section' });
		this.update(first);

		poll.add(() => L.resolveDefault(callStatus(), {}).then(res => this.update(res)));

		return E('div', { 'class': 'cbi-map' }, [ E('h2', {}, [ _('GRE over IPsec') ]), this.notices, this.box ]);
	},

	update(res) {
		const notices = [];

		if (res.ok !== true) {
			notices.push(E('div', { 'class': 'alert-message warning', 'data-notice': res.running === false ? 'stopped' : 'lost' }, problem(res)));

			if (res.running === false || !this.body)
				dom.content(this.box, [ E('em', {}, [ _('There is nothing to show.') ]) ]), this.body = null;

			return dom.content(this.notices, notices);
		}

		dom.content(this.notices, this.daemon(res.daemon));

		/* The table is made anew only when other tunnels are there. */
		const names = res.tunnels.map(t => t.name).join();

		for (const name in this.rows)
			if (!res.tunnels.some(t => t.name == name))
				delete this.rows[name];

		const now = performance.now();

		res.tunnels.forEach(t => (this.rows[t.name] ??= new Row(this, t.name)).update(t, now));
		this.tunnels = res.tunnels;

		if (this.body && this.names == names)
			return;

		this.names = names;
		this.body = E('table', { 'class': 'table' }, [
			E('tr', { 'class': 'tr table-titles' }, Object.values(titles).map(t => E('th', { 'class': 'th' }, [ t ])).concat(E('th', { 'class': 'th cbi-section-actions' }))),
			...res.tunnels.flatMap((t, i) => {
				const r = this.rows[t.name];

				r.node.className = r.why.className = 'tr cbi-rowstyle-%d'.format(1 + i % 2);
				return [ r.node, r.why ];
			}),
			...(res.tunnels.length ? [] : [ E('tr', { 'class': 'tr placeholder' }, [ E('td', { 'class': 'td' }, [ E('em', {}, [ _('No tunnel is configured. Add one in Network, Interfaces.') ]) ]) ]) ])
		]);
		dom.content(this.box, [ this.body ]);
	},

	/* what is to be said of the daemon */
	daemon(d) {
		const out = [];

		if (d.config_problems.length)
			out.push(E('div', { 'class': 'alert-message danger', 'data-notice': 'config' }, [
				E('p', {}, [ _('The configuration has mistakes. What was loaded at %s keeps running.').format(clock(d.config_loaded)) ]),
				...d.config_problems.map(p => line(p))
			]));

		if (d.pending)
			out.push(E('div', { 'class': 'alert-message warning', 'data-notice': 'pending' }, [
				E('p', {}, [ _('A configuration runs on trial. Unless it is kept, the one before comes back in %s.').format(seconds(d.pending.left_s)) ]),
				...L.toArray(d.pending.waiting).map(w => line(w)),
				E('div', { 'class': 'right' }, this.readonly() ? [] : [
					E('button', { 'class': 'btn cbi-button cbi-button-negative', 'click': ui.createHandlerFn(this, 'act', callRollback) }, [ _('Take back') ]), ' ',
					E('button', { 'class': 'btn cbi-button cbi-button-positive', 'click': ui.createHandlerFn(this, 'act', callConfirm) }, [ _('Keep') ])
				])
			]));

		if (d.rolled_back)
			out.push(E('div', { 'class': 'alert-message warning' }, [ _('A configuration on trial was taken back at %s:').format(clock(d.rolled_at)), ' ', d.rolled_back ]));

		out.push(E('div', { 'class': 'cbi-map-descr' }, [
			line('greseal %s, '.format(d.version), d.datapath == 'kernel' ? _('packets are carried by the kernel') : _('packets are carried by greseal itself'),
				', ', _('running for %s').format(seconds(d.uptime_s))),
			...(d.datapath_why ? [ line(d.datapath_why) ] : []),
			...d.notes.map(n => line(n))
		]));

		return out;
	},

	readonly() {
		return !L.hasViewPermission();
	},

	buttons(t) {
		const button = (name, title, style, fn) => E('button', {
			'class': 'btn cbi-button cbi-button-%s'.format(style), 'data-action': name, 'click': ui.createHandlerFn(this, fn, t.name)
		}, [ title ]);
		const out = [];

		if (!this.readonly())
			out.push(
				t.desired == 'down' ? button('up', _('Up'), 'positive', 'up') : button('down', _('Down'), 'negative', 'askDown'),
				button('restart', _('Restart'), 'neutral', 'restart'),
				button('diagnose', _('Diagnose'), 'action', 'diagnose'));

		out.push(button('details', _('Details'), 'neutral', 'details'));

		/* Four in a row are too wide, and not every theme wraps them. */
		return [ E('div', { 'style': 'display:inline-grid;gap:3px;grid-template-columns:' + (out.length > 1 ? '1fr 1fr' : '1fr') }, out) ];
	},

	/* carries out a request and shows the outcome */
	act(fn, ...args) {
		return L.resolveDefault(fn(...args), {}).then(res => {
			if (res.ok !== true)
				ui.addNotification(null, problem(res), 'danger');

			return L.resolveDefault(callStatus(), {});
		}).then(res => this.update(res));
	},

	up(name) { return this.act(callUp, name); },
	restart(name) { return this.act(callRestart, name); },

	askDown(name) {
		ui.showModal(_('Take %s down?').format(name), [
			E('p', {}, [ _('It stays down until it is taken up again, here or by greseal up. Traffic for its routes is refused meanwhile and takes no other way.') ]),
			E('p', {}, [ _('If this page is reached through the tunnel, it is out of reach then.') ]),
			E('div', { 'class': 'right' }, [
				E('button', { 'class': 'btn cbi-button', 'click': ui.hideModal }, [ _('Cancel') ]), ' ',
				E('button', {
					'class': 'btn cbi-button cbi-button-negative important', 'data-action': 'really-down',
					'click': ui.createHandlerFn(this, () => this.act(callDown, name).finally(ui.hideModal))
				}, [ _('Down') ])
			])
		]);
	},

	/* runs doctor: it is started, then asked for what it has found */
	diagnose(name) {
		const box = E('div', { 'data-doctor': 'running' }, [ E('p', { 'class': 'spinning' }, [ _('Examining the tunnel…') ]) ]);
		const modal = ui.showModal(_('Diagnosis of %s').format(name), [ box, dismiss() ], 'cbi-modal');
		const open = () => box.isConnected && modal != null;

		const show = job => {
			const d = job.tunnels.filter(c => c.tunnel == name)[0] || { steps: [], first_fault: '' };
			const first = d.steps.filter(f => f.id == d.first_fault)[0];

			box.setAttribute('data-doctor', job.done ? 'done' : 'running');
			dom.content(box, [
				job.done
					? E('div', { 'class': 'alert-message %s'.format(first ? 'danger' : 'success') }, first
						? [ E('strong', {}, [ first.title, ': ' ]), first.remedy || _('this is the first step that fails.') ] : [ _('Nothing is wrong with this tunnel.') ])
					: E('p', { 'class': 'spinning' }, [ _('Examining the tunnel…') ]),
				table([ _('Step') ], d.steps.map(finding), _('nothing yet'))
			]);
		};

		const next = (res, lost) => {
			if (!open())
				return;

			/* One answer may be lost; the job goes on. */
			if (res.ok !== true && (res.error || lost > 2))
				return dom.content(box, problem(res)), box.setAttribute('data-doctor', 'failed');

			if (res.ok === true) {
				this.job = res.job.id;
				show(res.job);

				if (res.job.done)
					return;
			}

			window.setTimeout(() => L.resolveDefault(callDoctorPoll(this.job), {}).then(r => next(r, r.ok === true ? 0 : lost + 1)), 1000);
		};

		L.resolveDefault(callDoctorStart(name), {}).then(res => next(res, res.ok === true ? 0 : 3));
	},

	details(name) {
		const t = this.tunnels.filter(t => t.name == name)[0];

		if (!t)
			return;

		return Promise.all([ L.resolveDefault(callEvents(name, 100), {}), L.resolveDefault(callHandshakes(name), {}) ]).then(([ res, shakes ]) => ui.showModal(name, [
			tabs([
				[ 'tunnel', _('Tunnel'), ...(t.reason ? [ E('div', { 'class': 'alert-message warning' }, reason(t)) ] : []), aboutTunnel(t) ],
				[ 'security', _('Security'), aboutSecurity(t) ],
				[ 'traffic', _('Traffic'), ...aboutTraffic(t) ],
				[ 'events', _('Events'), aboutEvents(L.toArray(res.events).length ? res.events : t.events) ],
				[ 'handshakes', _('Handshakes'), aboutHandshakes(L.toArray(shakes.handshakes)) ],
				[ 'peer', _('Other side'), this.otherSide(t) ]
			]),
			dismiss()
		], 'cbi-modal'));
	},

	/* the other side's configuration, for the product it is */
	otherSide(t) {
		const out = E('div', { 'data-peerconfig': '' });
		const vendor = new ui.Select('strongswan', {
			strongswan: 'strongSwan', libreswan: 'libreswan', mikrotik: 'MikroTik RouterOS 7', cisco: 'Cisco IOS-XE', vyos: 'VyOS', greseal: 'greseal'
		}, { sort: [ 'strongswan', 'libreswan', 'mikrotik', 'cisco', 'vyos', 'greseal' ] });

		return E('div', {}, [
			E('p', {}, [ _('The configuration that fits this tunnel, for the product on the other side. The key is left out.') ]),
			E('div', { 'class': 'cbi-value' }, [
				E('label', { 'class': 'cbi-value-title' }, [ _('Product') ]),
				E('div', { 'class': 'cbi-value-field' }, [
					vendor.render(), ' ',
					E('button', {
						'class': 'btn cbi-button cbi-button-action', 'data-action': 'peer',
						'click': ui.createHandlerFn(this, () => L.resolveDefault(callPeerConfig(t.name, vendor.getValue()), {}).then(res =>
							dom.content(out, res.ok === true ? [ E('pre', {}, [ res.text ]) ] : problem(res))))
					}, [ _('Show') ])
				])
			]),
			out
		]);
	},

	handleSave: null,
	handleSaveApply: null,
	handleReset: null
});

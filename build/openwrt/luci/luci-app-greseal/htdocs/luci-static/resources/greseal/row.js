'use strict';
'require baseclass';
'require dom';
'require greseal.look as look';

/* A tunnel in the list: the row with its facts, and under it why it is down and
 * what else is to be said. */

const { blue, green, drops, small, line, span, bits, svg, dot, badge, reason, contention, unequal } = look;

const samples = 60; /* of a plot */

const waits = {
	address: _('for the local address'),
	route: _('for a route to the other side'),
	name: _('for the host name of the other side'),
	interface: _('for the local interface')
};

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

		this.last = { now, i: t.in.bytes || 0, o: t.out.bytes || 0 };

		if (!last || dt <= 0)
			return;

		/* Counters begin anew with the daemon. */
		this.list.push([ this.last.i - last.i, this.last.o - last.o ].map(d => Math.max(0, d) * 8 / dt));
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

const dropped = t => drops.reduce((n, [ k ]) => n + (t.drops[k] || 0), 0);

/* What is to be said under a tunnel: why it is down, and what its owner would not see. */
const remarks = (t, now) => [
	...((t.code || ['down', 'suspect', 'waiting', 'connecting'].includes(t.state)) && t.reason ? reason(t) : []),
	...(t.contention ? contention(t.contention, now) : []),
	...(t.mtu.differs ? [ line(...unequal(t.mtu)) ] : [])
];

/* The cells of a tunnel's row, each its children. Moments of t are Unix seconds, and so
 * is now, when the daemon told of them. */
const cells = {
	name: t => [ E('strong', {}, [ t.name ]), E('br'), small(origin(t)) ],

	state: (t, now) => {
		const out = [ badge(t), E('br'), small(_('since %s').format(span(t.since, now))) ];

		if (t.state == 'waiting')
			out.push(E('br'), small(waits[t.waiting_for] || t.waiting_for));
		else if (t.state != 'up' && t.next_attempt > now)
			out.push(E('br'), small(_('next attempt in %s').format(span(now, t.next_attempt))));

		return out;
	},

	peer: (t, now) => {
		const out = [ t.peer.address || L.toArray(t.peer.configured).join(', ') ];

		if (t.peer.proved && out[0].indexOf(t.peer.remote_id) == -1)
			out.push(E('br'), small(t.peer.remote_id));

		if (t.state == 'suspect')
			out.push(E('br'), small(_('silent for %s').format(span(t.peer.last_heard, now))));

		return out;
	},

	security: (t, now) => {
		if (!t.ike)
			return [ '-' ];

		const out = [ small(t.ike.suite) ];

		if (t.child)
			out.push(E('br'), small('ESP ', t.child.suite));

		if (postquantum(t))
			out.push(E('br'), E('span', {
				'class': 'ifacebadge', 'data-postquantum': '', 'style': 'white-space:nowrap',
				'title': _('The key exchange withstands quantum computers: traffic recorded today stays unreadable.')
			}, [ dot(green), ' ', _('post-quantum') ]));

		if (t.child && t.child.rekey)
			out.push(E('br'), small(_('new keys in %s').format(span(now, t.child.rekey))));

		return out;
	},

	outside: t => {
		const out = [];

		if (t.outside.encap)
			out.push(E('span', { 'title': t.outside.encap_why || '' }, [ t.outside.encap == 'udp' ? _('ESP in UDP') : 'ESP' ]), E('br'));

		if (t.mtu.bytes)
			out.push('MTU %d'.format(t.mtu.bytes), E('br'), small(t.mtu.decides == 'peer' ? _('that of the other side') : {
				configured: _('as configured'), computed: _('computed'), searched: _('found by search')
			}[t.mtu.how] || t.mtu.how));

		return out.length ? out : [ '-' ];
	},

	traffic: (t, now, rates) => [
		rates.plot(), E('br'), small(...rates.text()), E('br'),
		small('▼ %1024.1mB ▲ %1024.1mB'.format(t.in.bytes || 0, t.out.bytes || 0)),
		...(dropped(t) ? [ E('br'), small(_('packets dropped: %d').format(dropped(t))) ] : [])
	]
};

const titles = {
	name: _('Tunnel'), state: _('State'), peer: _('Other side'), security: _('Protection'), outside: _('Outside'), traffic: _('Throughput')
};

/* A row stays in the page while its tunnel is there, so that what is under the
 * mouse does not go away; its cells get new content when there is an answer and
 * somebody can see them. */
function Row(name, buttons) {
	this.buttons = buttons;
	this.rates = new Rates();
	this.cells = {};
	this.node = E('tr', { 'class': 'tr', 'data-tunnel': name });

	for (const k in cells)
		this.node.appendChild(this.cells[k] = E('td', { 'class': 'td', 'data-title': titles[k] }));

	this.actions = this.node.appendChild(E('td', { 'class': 'td cbi-section-actions' }));
	this.why = E('tr', { 'data-reason': name }, [ E('td', { 'class': 'td', 'colspan': 7, 'style': 'text-align:left' }) ]);
}

Row.prototype = {
	/* takes over what the daemon said at a time; at is the browser's clock, milliseconds */
	update(t, now, at) {
		const other = !this.tunnel || this.tunnel.state != t.state;

		this.tunnel = t;
		this.now = now;
		this.rates.add(t, at);

		if (this.seen || other)
			this.paint();

		if (this.desired != t.desired) {
			this.desired = t.desired;
			dom.content(this.actions, this.buttons(t));
		}
	},

	paint() {
		const t = this.tunnel;

		for (const k in cells)
			dom.content(this.cells[k], cells[k](t, this.now, this.rates));

		const said = remarks(t, this.now);

		this.sad = said.length > 0;

		if (this.sad)
			dom.content(this.why.firstChild, said);

		this.show(!this.hidden);
	},

	show(yes) {
		this.hidden = !yes;
		this.node.style.display = yes ? '' : 'none';
		this.why.style.display = yes && this.sad ? '' : 'none';
	},

	/* what one may look for to find the tunnel */
	words() {
		return this.node.textContent + (this.sad ? this.why.textContent : '');
	}
};

return baseclass.extend({ titles, Row });

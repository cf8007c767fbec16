'use strict';
'require baseclass';
'require dom';
'require greseal.look as look';

/* A tunnel in the list: the row with its facts, and under it why it is down and
 * what else is to be said. */

const { blue, green, states, drops, small, line, span, bits, svg, dot, badge, open, alarm, reason, contention, unequal } = look;

const minutes = 30; /* of a plot */

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

/* What netifd does not know of, nobody brings up. */
const off = t => t.netifd && !t.enabled && t.desired == 'down';

const postquantum = t => t.ike != null && /(^|-)(ke\d_)?mlkem/.test(t.ike.suite);

/* The rates of one tunnel: when, on the browser's clock in milliseconds, and bits per
 * second in and out since the one before. */
function Rates() {
	this.list = [];
}

Rates.prototype = {
	/* what the daemon has kept, as it told at a time, which is at on the browser's clock */
	past(points, now, at) {
		this.keep(at, points.map(p => [ at - (now - p.time) * 1000, p.in_rate * 8, p.out_rate * 8 ]));
	},

	/* from one answer to the next */
	add(t, now) {
		const last = this.last, dt = last ? (now - last.now) / 1000 : 0;

		this.last = { now, i: t.in.bytes || 0, o: t.out.bytes || 0 };

		if (!last || dt <= 0)
			return;

		/* Counters begin anew with the daemon. */
		this.keep(now, [ [ now, ...[ this.last.i - last.i, this.last.o - last.o ].map(d => Math.max(0, d) * 8 / dt) ] ]);
	},

	keep(now, points) {
		this.list = this.list.concat(points).filter(p => p[0] > now - minutes * 60000);
	},

	/* the rate at the top of the plot: the next of 1, 2 and 5 times a power of ten */
	top() {
		const most = Math.max(1000, ...this.list.flatMap(p => p.slice(1))), unit = Math.pow(10, Math.floor(Math.log10(most)));

		return unit * [ 1, 2, 5, 10 ].find(n => n * unit >= most);
	},

	plot() {
		const w = 120, h = 32, foot = 9, top = this.top(), end = this.last.now;
		const points = k => this.list.map(p =>
			'%.1f,%.1f'.format(w - (end - p[0]) * w / (minutes * 60000), h - 1 - p[k] / top * (h - 3))).join(' ');
		const curve = (k, color) => svg('polyline', { points: points(k), fill: 'none', stroke: color, 'stroke-width': 1.5, 'stroke-linejoin': 'round' });

		return svg('svg', { width: w, height: h + foot, viewBox: '0 0 %d %d'.format(w, h + foot), role: 'img', 'aria-label': _('Throughput of the last %d minutes').format(minutes) },
			svg('line', { x1: 0, x2: w, y1: h - .5, y2: h - .5, stroke: 'currentColor', 'stroke-opacity': .3 }),
			svg('line', { x1: 0, x2: w, y1: 2, y2: 2, stroke: 'currentColor', 'stroke-opacity': .3, 'stroke-dasharray': '2 3' }),
			svg('text', { x: 0, y: h + foot - 1, 'font-size': foot, fill: 'currentColor', 'fill-opacity': .6 }, document.createTextNode('−' + _('%d min').format(minutes))),
			curve(1, blue), curve(2, green));
	},

	text() {
		const [ , i, o ] = this.list[this.list.length - 1] || [ 0, 0, 0 ];

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
	...alarm(t),
	...(t.contention ? contention(t.contention, now) : []),
	...(t.mtu.differs ? [ line(...unequal(t.mtu)) ] : [])
];

/* The cells of a tunnel's row, each its children. Moments of t are Unix seconds, and so
 * is now, when the daemon told of them. */
const cells = {
	name: t => [ E('strong', {}, [ t.name ]), E('br'), small(origin(t)) ],

	state: (t, now) => {
		const out = [ badge(t), E('br'), small(_('for %s').format(span(t.since, now))) ];

		if (t.state == 'waiting')
			out.push(E('br'), small(waits[t.waiting_for] || t.waiting_for));
		else if (t.state != 'up' && t.next_attempt > now)
			out.push(E('br'), small(_('next attempt in %s').format(span(now, t.next_attempt))));
		else if (off(t))
			out.push(E('br'), small(_('not enabled in Network, Interfaces')));

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
		rates.plot(), E('small', { 'data-scale': '', 'style': 'vertical-align:top' }, [ ' ', '%1000.0mbit/s'.format(rates.top()) ]), E('br'), small(...rates.text()), E('br'),
		small('▼ %1024.1mB ▲ %1024.1mB'.format(t.in.bytes || 0, t.out.bytes || 0)),
		...(dropped(t) ? [ E('br'), small(_('packets dropped: %d').format(dropped(t))) ] : [])
	]
};

/* The same on one line, where there are many. */
const brief = {
	name: t => [ E('strong', {}, [ t.name ]) ],
	state: (t, now) => [ badge(t), ' ', small(span(t.since, now)) ],
	peer: t => cells.peer(t, 0).slice(0, 1),
	security: t => [ t.child ? small(t.child.suite) : '-' ],
	outside: t => [ t.mtu.bytes ? small('MTU %d'.format(t.mtu.bytes)) : '-' ],
	traffic: (t, now, rates) => [ small(...rates.text()) ]
};

/* of which a phone has no room for all */
const narrow = window.matchMedia('(max-width: 600px)');
const lesser = [ 'security', 'outside' ];

/* The worse, the earlier in the list. */
const ranks = { down: 1, suspect: 2, connecting: 3, waiting: 3, up: 4, listening: 4, disabled: 5 };
const rank = t => open(t).length ? 0 : ranks[t.state] || 1;

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
		if (t.history)
			this.rates.past(t.history, now, at);
		this.rates.add(t, at);

		if (this.seen || other)
			this.paint();

		if (this.desired != t.desired) {
			this.desired = t.desired;
			dom.content(this.actions, this.buttons(t));
		}
	},

	/* on one line, or in full */
	compact(yes) {
		if (this.brief == yes)
			return;

		this.brief = yes;
		this.node.toggleAttribute('data-brief', yes);
		this.paint();
		dom.content(this.actions, this.buttons(this.tunnel));
	},

	paint() {
		const t = this.tunnel, how = this.brief ? brief : cells;

		for (const k in how) {
			dom.content(this.cells[k], how[k](t, this.now, this.rates));
			this.cells[k].style.display = this.brief && narrow.matches && lesser.includes(k) ? 'none' : '';
		}

		const said = remarks(t, this.now);

		this.sad = said.length > 0;

		/* On one line of a list there is room for one sentence. */
		if (this.sad)
			dom.content(this.why.firstChild, this.brief ? E('div', { 'style': 'display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:1;overflow:hidden', 'title': said[0].textContent }, [ small(said[0]) ]) : said);

		this.show(!this.hidden);
	},

	show(yes) {
		this.hidden = !yes;
		this.node.style.display = yes ? '' : 'none';
		this.why.style.display = yes && this.sad ? '' : 'none';
	},

	/* what one may look for to find the tunnel */
	words() {
		const t = this.tunnel;

		return [
			t.name, origin(t), (states[t.state] || [ t.state ])[0], waits[t.waiting_for], t.peer.address, ...L.toArray(t.peer.configured), t.peer.remote_id,
			t.reason, t.remedy, ...L.toArray(t.differs)
		].filter(w => w).join('\n');
	}
};

return baseclass.extend({ titles, rank, off, Row });

'use strict';
'require dom';
'require greseal.details as details';
'require greseal.doctor as doctor';
'require greseal.first as first_steps';
'require greseal.look as look';
'require greseal.row as row';
'require poll';
'require rpc';
'require ui';
'require view';

/* Status, GRE/IPsec: what greseal says of its tunnels. The facts come from the
 * plugin's method list and are called as in greseal status --json; those that are
 * zero or empty are not there. */

const object = 'luci.greseal';
const call = (method, params) => rpc.declare({ object, method, params, expect: { '': {} } });

const callList = call('list', [ 'from', 'history' ]);
const callUp = call('up', [ 'tunnel' ]);
const callDown = call('down', [ 'tunnel' ]);
const callRestart = call('restart', [ 'tunnel' ]);
const callConfirm = call('confirm');
const callRollback = call('rollback');

const { line, small, clock, span, states, sign, problem } = look;

const few = 12; /* tunnels, which have room in full and of which one sees without help how they are */

/* All tunnels: more than one answer holds come in parts. */
const list = (from, before, history) => L.resolveDefault(callList(from, history), {}).then(res => {
	if (res.ok !== true)
		return res;

	res.tunnels = before.concat(res.tunnels);
	return res.next > from ? list(res.next, res.tunnels, history) : res;
});

return view.extend({
	load() {
		/* a few with what they carried before, which is plotted */
		return list(0, []).then(res => res.ok === true && res.tunnels.length && res.tunnels.length <= few ? list(0, [], true) : res);
	},

	render(first) {
		this.rows = {};
		this.notices = E('div');
		this.counts = E('div', { 'style': 'margin-bottom:6px' });
		this.find = E('input', {
			'type': 'text', 'class': 'cbi-input-text', 'data-find': '', 'placeholder': _('Find by name, address or state'), 'aria-label': _('Find by name, address or state'),
			'input': () => this.filter()
		});
		this.none = E('em', {}, [ _('No tunnel matches.') ]);
		this.bar = E('div', { 'class': 'cbi-section' }, [ this.counts, this.find, ' ', this.none ]);
		this.box = E('div', { 'class': 'cbi-section' });
		this.eye = new IntersectionObserver(all => all.forEach(e => this.sight(e)), { rootMargin: '300px' });
		this.update(first);

		poll.add(() => list(0, []).then(res => this.update(res)));

		const handler = E('div');

		first_steps.handler(handler, this.readonly());

		return E('div', { 'class': 'cbi-map' }, [ E('h2', {}, [ _('GRE over IPsec') ]), handler, this.notices, this.bar, this.box ]);
	},

	update(res) {
		if (res.ok !== true) {
			if (res.running === false || !this.body) {
				dom.content(this.box, res.nothing ? [ first_steps.empty() ] : [ E('em', {}, [ _('There is nothing to show.') ]) ]);
				this.body = null;
				this.summary([]);
			}

			return dom.content(this.notices, res.nothing ? [] : [ E('div', { 'class': 'alert-message warning', 'data-notice': res.running === false ? 'stopped' : 'lost' }, problem(res)) ]);
		}

		dom.content(this.notices, this.daemon(res.daemon, res.time));

		const at = performance.now(), names = res.tunnels.map(t => t.name), there = new Set(names);

		for (const name in this.rows)
			if (!there.has(name))
				delete this.rows[name];

		res.tunnels.forEach(t => (this.rows[t.name] ??= this.row(t.name)).update(t, res.time, at));

		for (const r of Object.values(this.rows))
			r.compact(names.length > few && r != this.whole);

		/* The worst first. Nothing moves under the mouse, unless other tunnels are there. */
		const sorted = res.tunnels.slice().sort((a, b) => row.rank(a) - row.rank(b)).map(t => t.name);

		if (!this.body || this.names.length != names.length || this.names.some(n => !there.has(n)) || this.names.join() != sorted.join() && !this.box.matches(':hover'))
			this.arrange(sorted);

		this.summary(res.tunnels);
		this.filter();
	},

	row(name) {
		const r = new row.Row(name, t => this.buttons(t));

		this.eye.observe(r.node);
		return r;
	},

	/* a row came into sight, or left it */
	sight(e) {
		const r = this.rows[e.target.getAttribute('data-tunnel')];

		if (r && (r.seen = e.isIntersecting))
			r.paint();
	},

	arrange(names) {
		this.names = names;
		this.body = E('table', { 'class': 'table' }, [
			E('tr', { 'class': 'tr table-titles' }, Object.values(row.titles).map(t => E('th', { 'class': 'th' }, [ t ])).concat(E('th', { 'class': 'th cbi-section-actions' }))),
			...names.flatMap((name, i) => {
				const r = this.rows[name];

				r.node.className = r.why.className = 'tr cbi-rowstyle-%d'.format(1 + i % 2);
				return [ r.node, r.why ];
			}),
			...(names.length ? [] : [ E('tr', { 'class': 'tr placeholder' }, [ E('td', { 'class': 'td' }, [ first_steps.empty() ]) ]) ])
		]);
		dom.content(this.box, [ this.body ]);
	},

	/* how many tunnels are in each state, and the field to find some of them */
	summary(tunnels) {
		const n = {};

		tunnels.forEach(t => n[t.state] = (n[t.state] || 0) + 1);
		this.bar.style.display = tunnels.length > few ? '' : 'none';
		dom.content(this.counts, Object.keys(states).filter(s => n[s]).flatMap(s =>
			[ E('button', {
				'class': 'btn cbi-button' + (this.only == s ? ' cbi-button-action' : ''), 'data-count': s, 'aria-pressed': String(this.only == s), 'title': _('Show only these'),
				'click': () => { this.only = this.only == s ? null : s; this.summary(tunnels); this.filter(); }
			}, sign(s, '%d '.format(n[s]))), ' ' ]));
	},

	/* shows only what is looked for */
	filter() {
		const want = this.find.value.trim().toLowerCase();
		let some = false;

		for (const r of Object.values(this.rows)) {
			const yes = (!this.only || r.tunnel.state == this.only) && (want == '' || r.words().toLowerCase().includes(want));

			some ||= yes;
			if (yes == r.hidden)
				r.show(yes);
		}

		this.none.style.display = some ? 'none' : '';
	},

	/* what is to be said of the daemon, as it told at a time */
	daemon(d, now) {
		const out = [];

		if (d.config_problems.length)
			out.push(E('div', { 'class': 'alert-message danger', 'data-notice': 'config' }, [
				E('p', {}, [ d.config_instead ? _('The configuration had mistakes when greseal was started.') : _('The configuration has mistakes. What was loaded at %s keeps running.').format(clock(d.config_loaded)) ]),
				...(d.config_instead ? [ line(d.config_instead) ] : []),
				...d.config_problems.map(p => line(p))
			]));

		if (d.pending)
			out.push(E('div', { 'class': 'alert-message warning', 'data-notice': 'pending' }, [
				E('p', {}, [ _('A configuration is on trial. Unless it is kept, the previous one comes back in %s.').format(span(now, d.pending.until)) ]),
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
				', ', _('running for %s').format(span(d.started, now))),
			...(this.readonly() ? [ line(small(_('This login may look at the tunnels and not change them.'))) ] : []),
			/* The same thing is said once. */
			...[ d.datapath_why, ...d.notes ].filter((n, i, all) => n && !all.some((o, j) => o && j != i && o.includes(n) && (o != n || j < i))).map(n => line(small(n)))
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
		const out = [], r = this.rows[t.name];

		if (r && r.brief)
			return [ button('more', _('More'), 'neutral', 'more') ];

		if (!this.readonly())
			out.push(
				...(row.off(t) ? [] : [ t.desired == 'down' ? button('up', _('Up', 'tunnel'), 'positive', 'up') : button('down', _('Down', 'tunnel'), 'negative', 'askDown') ]),
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

			return list(0, []);
		}).then(res => this.update(res));
	},

	/* one of many in full, the others on a line each */
	more(name) {
		this.whole = this.rows[name];
		Object.values(this.rows).forEach(r => r.compact(r != this.whole));
	},

	up(name) { return this.act(callUp, name); },
	restart(name) { return this.act(callRestart, name); },

	askDown(name) {
		ui.showModal(_('Take %s down?').format(name), [
			E('p', {}, [ this.rows[name].tunnel.netifd
				? _('It stays down until it is brought up again, here, in Network, Interfaces or with ifup, or until the router restarts. It survives a restart of greseal.')
				: _('It stays down until it is brought up again, here or with greseal up, or until greseal or the router restarts. It survives a change of the configuration, unless that enables it.') ]),
			E('p', {}, [ _('Meanwhile traffic for its routes is refused and takes no other way.') ]),
			E('p', {}, [ _('If you reach this page through the tunnel, you will lose it.') ]),
			E('div', { 'class': 'right' }, [
				E('button', { 'class': 'btn cbi-button', 'click': ui.hideModal }, [ _('Cancel') ]), ' ',
				E('button', {
					'class': 'btn cbi-button cbi-button-negative important', 'data-action': 'really-down',
					'click': ui.createHandlerFn(this, () => this.act(callDown, name).finally(ui.hideModal))
				}, [ _('Down', 'tunnel') ])
			])
		]);
	},

	diagnose(name) { return doctor.run(name); },
	details(name) { return details.show(name); },

	handleSave: null,
	handleSaveApply: null,
	handleReset: null
});

'use strict';
'require baseclass';
'require ui';

/* What the pages of greseal have in common: words, colours, tables, numbers. */

const green = '#2e9e5b', amber = '#d98a00', red = '#d0342c', grey = '#8a8f98', blue = '#3b82c4';

const states = {
	up: [ _('up'), green ],
	suspect: [ _('no answer'), amber ],
	connecting: [ _('connecting'), amber ],
	waiting: [ _('waiting'), amber ],
	listening: [ _('listening'), blue ],
	down: [ _('down'), red ],
	disabled: [ _('off'), grey ]
};

const drops = [
	[ 'replay', _('repeated or too late') ],
	[ 'integrity', _('forged or damaged') ],
	[ 'selector', _('outside the selectors') ],
	[ 'malformed', _('malformed') ],
	[ 'no_sa', _('no security association') ],
	[ 'too_big', _('too large') ],
	[ 'queue', _('queue full') ],
	[ 'key', _('wrong GRE key') ],
	[ 'gre', _('bad GRE header') ]
];

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

/* the time between two moments, which are Unix seconds, 0 or nothing when unknown */
const span = (from, to) => seconds(from && to ? to - from : 0);

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

/* a state, with what is to stand before its name */
function sign(state, before) {
	const [ text, color ] = states[state] || [ state, grey ];

	return [ dot(color), ' ', E('strong', {}, [ before || '', text ]) ];
}

const badge = t => E('span', { 'class': 'ifacebadge', 'data-state': t.state, 'style': 'white-space:nowrap' }, sign(t.state));

const facts = list => E('table', { 'class': 'table' }, list.filter(f => f[1] != null && f[1] !== '').map(([ k, v ], i) =>
	E('tr', { 'class': 'tr cbi-rowstyle-%d'.format(1 + i % 2) }, [
		E('td', { 'class': 'td', 'width': '33%', 'style': 'text-align:left' }, [ E('strong', {}, [ k ]) ]),
		E('td', { 'class': 'td', 'style': 'text-align:left;overflow-wrap:anywhere' }, Array.isArray(v) ? v : [ v ])
	])));

/* why a tunnel is down, and what to do */
function reason(t) {
	const [ sign, color ] = (t.state == 'down') ? [ '✘ ', red ] : [ '… ', amber ];
	const out = [ line(E('strong', { 'style': 'color:' + color, 'aria-hidden': 'true' }, [ sign ]), t.reason) ];

	if (t.remedy && t.reason.indexOf(t.remedy) == -1)
		out.push(line(E('em', {}, [ _('What to do:'), ' ', t.remedy ])));

	return out.concat(L.toArray(t.evidence).map(e => line(small(e))), L.toArray(t.commands).map(c => line(code(c))));
}

/* what on this router is not as greseal set it up; a way past the guards first, in the
 * clear */
const open = t => L.toArray(t.guards).filter(g => !g.in_place);
const alarm = t => [
	...open(t).map(g => line(E('strong', { 'style': 'color:' + red }, [ '✘ ', _('Not closed:'), ' ' ]), g.target, g.how ? ' (%s)'.format(g.how) : '')),
	...L.toArray(t.differs).filter(d => d != t.reason).map(d => line(E('strong', { 'style': 'color:' + amber }, [ '! ' ]), d))
];

/* that a second peer wants a tunnel, who has it, and what to do; now is when that was told */
function contention(c, now) {
	return [
		line(E('strong', { 'style': 'color:' + amber, 'aria-hidden': 'true' }, [ '! ' ]),
			_('%s at %s was turned away (%d×, last %s ago): the tunnel has %s at %s, which answers.').format(
				c.newcomer, c.newcomer_address, c.times, span(c.last, now), c.holder, c.holder_address)),
		line(E('em', {}, [ _('What to do:'), ' ', c.remedy ]))
	];
}

/* that the two ends have other MTUs, and what to do */
const unequal = m => [ _('The other side has MTU %d here, and OSPF needs the same:').format(m.peer), ' ', m.differs ];

function problem(res) {
	return [ E('p', {}, [ res.error || _('greseal gave no answer') ]) ]
		.concat(L.toArray(res.lines).map(l => E('pre', {}, [ l ])))
		.concat(res.remedy ? [ E('p', {}, [ E('em', {}, [ res.remedy ]) ]) ] : []);
}

const dismiss = text => E('div', { 'class': 'right' }, [
	E('button', { 'class': 'btn cbi-button', 'click': ui.hideModal }, [ text || _('Dismiss') ])
]);

return baseclass.extend({
	green, amber, red, grey, blue, states, drops, small, line, code, row, table, span, clock, bits, svg, dot, sign, badge, facts, open, alarm, reason, contention, unequal, problem, dismiss
});

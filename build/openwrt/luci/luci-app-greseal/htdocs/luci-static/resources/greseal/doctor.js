'use strict';
'require baseclass';
'require dom';
'require greseal.look as look';
'require rpc';
'require ui';

/* The diagnosis of one tunnel, in a dialog that grows with what is found. */

const object = 'luci.greseal';
const callDoctorStart = rpc.declare({ object, method: 'doctor_start', params: [ 'tunnel' ], expect: { '': {} } });
const callDoctorPoll = rpc.declare({ object, method: 'doctor_poll', params: [ 'job' ], expect: { '': {} } });

const { green, amber, red, grey, line, row, table, problem, dismiss } = look;

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

/* runs doctor: it is started, then asked for what it has found */
function run(name) {
	const box = E('div', { 'data-doctor': 'running' }, [ E('p', { 'class': 'spinning' }, [ _('Checking the tunnel…') ]) ]);
	const modal = ui.showModal(_('Diagnosis of %s').format(name), [ box, dismiss() ], 'cbi-modal');
	let id = 0, unfolded = false;
	const open = () => box.isConnected && modal != null;

	const show = job => {
		const d = job.tunnels.filter(c => c.tunnel == name)[0] || { steps: [], first_fault: '' };
		const first = d.steps.filter(f => f.id == d.first_fault)[0];
		const untried = f => f.id == 'esp' && f.verdict == 'skipped'; /* nobody knows whether packets pass */
		const quiet = d.steps.filter(f => (f.verdict == 'ok' || f.verdict == 'skipped') && !(job.done && untried(f)));
		const told = d.steps.filter(f => !quiet.includes(f));
		const well = !told.length ? _('Nothing is wrong with this tunnel.')
			: told.some(untried) ? _('No fault was found, but whether packets pass was not tried.') : _('No fault was found; see the warnings below.');

		box.setAttribute('data-doctor', job.done ? 'done' : 'running');
		dom.content(box, [
			job.done
				? E('div', { 'class': 'alert-message %s'.format(first ? 'danger' : 'success') }, first
					? [ E('strong', {}, [ first.title, ': ' ]), first.remedy || _('this is the first step that fails.') ] : [ well ])
				: E('p', { 'class': 'spinning' }, [ _('Checking the tunnel…') ]),
			...(told.length ? [ table([ _('Step') ], told.map(finding)) ] : []),
			E('details', { open: unfolded ? '' : null, toggle: ev => { unfolded = ev.target.open; } }, [
				E('summary', {}, [ _('Steps that call for nothing: %d').format(quiet.length) ]),
				table([ _('Step') ], quiet.map(finding), _('nothing yet'))
			])
		]);
	};

	const next = (res, lost) => {
		if (!open())
			return;

		/* One answer may be lost; the job goes on. */
		if (res.ok !== true && (res.error || lost > 2))
			return dom.content(box, problem(res)), box.setAttribute('data-doctor', 'failed');

		if (res.ok === true) {
			id = res.job.id;
			show(res.job);

			if (res.job.done)
				return;
		}

		window.setTimeout(() => L.resolveDefault(callDoctorPoll(id), {}).then(r => next(r, r.ok === true ? 0 : lost + 1)), 1000);
	};

	L.resolveDefault(callDoctorStart(name), {}).then(res => next(res, res.ok === true ? 0 : 3));
}

return baseclass.extend({ run });

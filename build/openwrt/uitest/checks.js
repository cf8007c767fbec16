'use strict';
/* What must be seen on the pages. Each scene opens a page, takes screenshots and
 * says what they show. */

const assert = require('assert');

const status = 'admin/status/greseal', interfaces = 'admin/network/network';

const text = async (page, selector) => (await page.textContent(selector)).replace(/\s+/g, ' ').trim();

/* Nothing sticks out of the screen to the right, neither page nor dialog. */
async function fits(t, selector) {
	const [ wide, room ] = await t.page.evaluate(s => {
		const e = s ? document.querySelector(s) : document.documentElement;
		return [ e.scrollWidth, e.clientWidth ];
	}, selector || null);

	assert(wide <= room + 1, (selector || 'the page') + ' is ' + wide + ' pixels wide on ' + room);

	/* nor a table out of its box */
	const out = await t.page.$$eval('.cbi-section .table', all => all.filter(e =>
		e.offsetHeight && e.getBoundingClientRect().right > e.closest('.cbi-section').getBoundingClientRect().right + 1).length);

	assert.equal(out, 0, 'a table sticks out of its box');
}

async function statusPage(t) {
	const { page } = t;

	await t.open(status);
	await page.waitForSelector('[data-tunnel]');

	const ping = () => t.lab.in(t.lab.a, 'ping', '-q', '-c', '20', '-i', '0.02', '-s', '1000', '10.255.1.2');

	/* Traffic, and some answers of the poll, for the plot. What is out of sight is not drawn. */
	await page.$eval('[data-tunnel=branch]', e => e.scrollIntoView());
	for (let i = 0; i < 3; i++) {
		ping();
		await page.waitForTimeout(1100);
	}
	await t.until('the plot has points', () => page.$eval('[data-tunnel=branch] polyline', p => p.getAttribute('points').split(' ').length >= 3), 30);
	await t.shot('status');
	await fits(t);

	const of = name => text(page, '[data-tunnel=' + name + ']');
	const branch = await of('branch');

	for (const name of [ 'hq', 'branch' ])
		assert.equal(await page.getAttribute('[data-tunnel=' + name + '] [data-state]', 'data-state'), 'up');
	for (const want of [ /for \d/, /192\.0\.2\.101/, /aes256gcm16-prfsha384-x25519-mlkem768/, /post-quantum/, /ESP in UDP/, /MTU 1\d\d\d/, /computed|found by search/, /new keys in \d+ min/, /[KM]bit\/s|bit\/s/, /[KM]iB/ ])
		assert.match(branch, want);
	assert.match(await of('hq'), /network interface/);

	/* Of what is down, why and what to do. */
	const wrong = await text(page, '[data-reason=wrong]');

	assert.match(wrong, /authentication failed/);
	assert.match(wrong, /What to do: .*psk/);
	assert.match(await text(page, '[data-reason=nobody]'), /no answer/);
	assert.equal(await page.isVisible('[data-reason=branch]'), false);
	assert.match(await text(page, '[data-tunnel=nobody] [data-state]'), /connecting|down/);

	/* The worst first, and a scale on the plot. */
	const order = await page.$$eval('[data-tunnel]', all => all.map(e => e.dataset.tunnel));

	assert(order.slice(0, 2).sort().join() == 'nobody,wrong', order.join());
	assert.match(await text(page, '[data-tunnel=branch] [data-scale]'), /^[125]0* [KM]?bit\/s$/);

	/* What is under the mouse stays there from answer to answer. */
	const button = await page.$('[data-tunnel=branch] [data-action=details]');

	await page.waitForTimeout(2500);
	assert(await button.evaluate(b => b.isConnected), 'a button was made anew');
}

/* What was carried before a visit is on the plot from the beginning. */
async function beforeTheVisit(t) {
	const { page } = t, asked = () => t.router.calls.filter(c => c == 'luci.greseal.list with history').length;
	const curve = i => page.$$eval('[data-tunnel=branch] polyline', (all, i) => all[i].getAttribute('points').split(' ').map(p => p.split(',').map(Number)), i);
	const before = asked();

	await t.open(status);
	await page.waitForSelector('[data-tunnel=branch]');
	await t.open(interfaces);
	t.lab.in(t.lab.a, 'ping', '-q', '-c', '20', '-i', '0.02', '-s', '1000', '10.255.1.2');
	await page.waitForTimeout(1100);
	await t.open(status);
	await page.waitForSelector('[data-tunnel=branch]');
	for (const i of [ 0, 1 ]) {
		const points = await curve(i);

		assert(Math.abs(points[points.length - 1][0] - 120) < .5, 'the latest is not at the right edge: ' + points);
		assert(points.some(p => p[1] < 30), 'nothing was carried: ' + points);
	}
	assert.match(await page.getAttribute('[data-tunnel=branch] [role=img]', 'aria-label'), /last 30 minutes/);

	if (t.client.root) /* which cannot pretend */
		return;

	assert.equal(asked() - before, 2, 'it is asked for with more than the page');
	await pretend(t, 'branch', (args, res) => args.history && { history: [ ...Array(60).keys() ].map(i =>
		({ time: res.time - 30 * (59 - i), in_rate: 2e5 * Math.abs(Math.sin(i / 5)), out_rate: i > 40 && i < 50 ? 1e6 : 3e4 })) }, async () => {
		const points = await curve(1);

		assert(points.length >= 60 && points[0][0] >= 0 && points[0][0] < 2.5 && points[45][1] < 10 && points[55][1] > 25, points.join(' '));
		await page.$eval('[data-tunnel=branch]', e => e.scrollIntoView());
		await t.until('the plot goes on', async () => (await curve(1)).length > points.length + 1, 30);
		assert.equal(await text(page, '[data-tunnel=branch] [data-scale]'), '10 Mbit/s');
		await t.shot('half-an-hour');
		await fits(t);
	});
}
beforeTheVisit.screens = [ 'desktop', 'dark', 'phone' ];

async function doctor(t) {
	const { page } = t;

	await t.open(status);
	await page.click('[data-tunnel=wrong] [data-action=diagnose]');
	await page.waitForSelector('[data-doctor=done]', { timeout: 90000 });
	await t.shot('doctor');
	await fits(t, '.modal');

	assert.match(await text(page, '[data-doctor] .alert-message'), /identity.*psk/);
	assert((await page.$$('[data-verdict=ok]')).length >= 5);
	assert.equal((await page.$$('[data-verdict=fault]')).length >= 1, true);
	assert.equal(await page.$eval('[data-doctor] details', d => d.open || d.querySelector('[data-verdict=fault]') != null), false);

	const steps = await page.$$eval('[data-verdict]', all => all.map(e => e.textContent));

	assert(steps.some(s => /UDP 500/.test(s)) && steps.some(s => /What to do/.test(s)), steps.join('\n'));
	await page.click('.modal button:has-text("Dismiss")');
	await t.until('the dialog is gone', () => page.$eval('body', b => !b.classList.contains('modal-overlay-active')), 5);
}

async function details(t) {
	const { page } = t;

	await t.open(status);
	await page.click('[data-tunnel=branch] [data-action=details]');
	await page.waitForSelector('.modal .cbi-tabmenu');

	for (const [ tab, want ] of [
		[ 'tunnel', [ /10\.255\.1\.1\/30/, /branch \(tun\)/, /since/ ] ],
		[ 'security', [ /192\.0\.2\.1:4500/, /proved/, /ENCR_AES_GCM_16/, /proto 47/, /ESP in UDP, tunnel/ ] ],
		[ 'traffic', [ /in\s*packets: \d+/, /largest packet inside\s*1\d\d\d/, /GRE/ ] ],
		[ 'events', [ /up/ ] ],
		[ 'handshakes', [ /IKE_SA_INIT request 0, \d+ bytes/, /IKE_AUTH response \d/ ] ],
		[ 'peer', [ /Product/ ] ]
	]) {
		await page.click('.modal .cbi-tabmenu [data-tab=' + tab + '] a');
		if (tab == 'peer') {
			await page.click('[data-action=peer]');
			await page.waitForSelector('[data-peerconfig] pre');
			want.push(/connections \{/, /PRE_SHARED_KEY/);
		}
		if (tab == 'handshakes') {
			assert.match(await text(page, '[data-handshake=sent] details'), /ml-kem-768/);
			await page.click('[data-handshake=sent] summary');
		}
		await t.shot('details-' + tab);
		await fits(t, '.modal');

		const shown = await page.$$eval('.modal [data-tab=' + tab + ']', all => all[all.length - 1].innerText);

		for (const w of want)
			assert.match(shown, w);
		assert(!shown.includes(t.key), 'the key is shown');
	}
}

/* Open details follow what happens, but for what is being read. */
async function detailsFollow(t) {
	const { page } = t, tab = name => '.modal [data-tab=' + name + ']';

	await t.open(status);
	await page.click('[data-tunnel=branch] [data-action=details]');
	await page.waitForSelector('.modal .cbi-tabmenu');
	await page.click('.modal .cbi-tabmenu [data-tab=handshakes] a');
	await page.click('[data-handshake=sent] summary');
	await t.router.greseal('restart', { tunnel: 'branch' });
	await page.click('.modal .cbi-tabmenu [data-tab=events] a');
	await t.until('the event is there', async () => /restarted by request/.test(await page.$$eval(tab('events'), all => all[all.length - 1].textContent)), 20);
	assert(await page.$('[data-handshake=sent] details[open]'), 'what was being read is gone');
	await page.click('.modal button:has-text("Dismiss")');
	await page.waitForSelector('[data-tunnel=branch] [data-state=up]');
}
detailsFollow.screens = [ 'desktop' ];

/* Somebody sets an interface down: the page says so, and its details. */
async function setDown(t) {
	const { page } = t;

	t.lab.in(t.lab.a, 'ip', 'link', 'set', 'branch', 'down');
	await t.open(status);
	await t.until('the page says it', async () => /set it down.*ip link set branch up/.test(await text(page, '[data-reason=branch]')), 60);
	assert(await page.isVisible('[data-reason=branch]'));
	await page.click('[data-tunnel=branch] [data-action=details]');
	await page.waitForSelector('.modal .cbi-tabmenu');
	assert.match(await page.textContent('.modal'), /branch \(tun\), set down/);
	await t.shot('set-down');
	await fits(t, '.modal');
	await page.click('.modal button:has-text("Dismiss")');
	t.lab.in(t.lab.a, 'ip', 'link', 'set', 'branch', 'up');
	await page.waitForSelector('[data-tunnel=branch] [data-state=up]', { timeout: 60000 });
}
setDown.screens = [ 'desktop' ];

/* Has the list say something else of a tunnel while a scene looks at it; facts may depend
 * on the arguments. */
async function pretend(t, name, facts, look) {
	const list = async args => {
		t.router.played = null;
		const res = await t.router.greseal('list', args);

		t.router.played = { list };
		Object.assign(res.tunnels.find(x => x.name == name), typeof(facts) == 'function' ? facts(args, res) : facts);
		return res;
	};

	t.router.played = { list };
	await t.open(status);
	await t.page.waitForSelector('[data-tunnel=' + name + ']');
	await look();
	t.router.played = null;
}

/* A guard that is open is told in red, also of a tunnel that is up. */
async function notClosed(t) {
	const { page } = t;

	await pretend(t, 'branch', { guards: [ { target: '192.0.2.101', how: 'somebody deleted the policy' } ] }, async () => {
		await t.until('it is said', async () => /Not closed: 192\.0\.2\.101 \(somebody deleted the policy\)/.test(await text(page, '[data-reason=branch]')), 20);
		assert.equal(await page.$eval('[data-tunnel]', e => e.dataset.tunnel), 'branch', 'it does not stand first');
		await t.shot('not-closed');
	});
}
notClosed.screens = [ 'desktop' ];

/* An interface that netifd has switched off is not brought up from here. */
async function notEnabled(t) {
	await pretend(t, 'hq', { state: 'disabled', desired: 'down', enabled: false }, async () => {
		assert.match(await text(t.page, '[data-tunnel=hq] [data-title=State]'), /off ?for .* s ?not enabled in Network, Interfaces/);
		assert.equal(await t.page.isVisible('[data-tunnel=hq] [data-action=up], [data-tunnel=hq] [data-action=down]'), false);
		assert.equal(await t.page.isVisible('[data-tunnel=hq] [data-action=details]'), true);
	});
}
notEnabled.screens = [ 'desktop' ];

/* down asks first, up needs no question */
async function downAndUp(t) {
	const { page } = t;

	await t.open(status);
	await page.click('[data-tunnel=branch] [data-action=down]');
	await page.waitForSelector('[data-action=really-down]');
	await t.shot('down-question');
	assert.match(await text(page, '.modal'), /until greseal or the router restarts\. It survives a change of the configuration/);
	await page.click('[data-action=really-down]');
	await page.waitForSelector('[data-tunnel=branch] [data-state=disabled]');
	await page.waitForSelector('[data-tunnel=branch] [data-action=up]');
	t.lab.daemon.kill('SIGHUP');
	await page.waitForTimeout(2500);
	assert.equal((await t.router.greseal('status', { tunnel: 'branch' })).tunnels[0].state, 'disabled', 'a reload brought it up');
	await t.shot('off');
	await page.click('[data-tunnel=branch] [data-action=up]');
	await page.waitForSelector('[data-tunnel=branch] [data-state=up]');
	await page.click('[data-tunnel=branch] [data-action=restart]');
	await t.until('it was restarted', () => t.router.calls.includes('luci.greseal.restart'), 20);
	await page.waitForSelector('[data-tunnel=branch] [data-action=restart]:not(.spinning)');
	await page.waitForSelector('[data-tunnel=branch] [data-state=up]');
}
downAndUp.screens = [ 'desktop' ];

/* A login that may only look sees everything and is offered nothing else. */
async function readOnly(t) {
	t.router.readonly = true;
	await t.open(status);
	await t.page.waitForSelector('[data-tunnel]');
	assert.equal(await t.page.isVisible('[data-action=down], [data-action=diagnose]'), false);
	assert.equal(await t.page.isVisible('[data-tunnel=branch] [data-action=details]'), true);
	await t.page.waitForSelector('text=This login may look at the tunnels and not change them.');
	await t.shot('read-only');

	await t.open(interfaces);
	await t.page.click('tr[data-section-id=hq] .cbi-button-edit');
	await t.page.waitForSelector('.modal [data-greseal=check]', { state: 'attached' });
	await t.page.waitForTimeout(1500);
	assert.equal(await t.page.$eval('.modal [data-name=_genpsk] button', b => b.disabled), true);
	t.router.readonly = false;
}
readOnly.screens = [ 'desktop' ];

const field = name => '[data-name=' + name + '] input:not([type=hidden])';
const tab = (t, name) => t.page.click('.modal .cbi-tabmenu [data-tab=' + name + '] a');
const save = t => t.page.click('.modal .cbi-button-positive.important');
const invalid = (t, name) => t.page.waitForSelector('[data-name=' + name + '] .cbi-input-invalid');

async function edit(t, name) {
	await t.open(interfaces);
	await t.page.click('tr[data-section-id=' + name + '] .cbi-button-edit');
	await t.page.waitForSelector('[data-greseal=check] > *');
}

/* fills in a field that proposes values: LuCI's is a list with a field in it. */
async function enter(t, name, value) {
	if (!await t.page.$('[data-name=' + name + '] .cbi-dropdown'))
		return t.page.fill(field(name), value).then(() => t.page.keyboard.press('Tab'));

	await t.page.click('[data-name=' + name + '] .cbi-dropdown');
	if (value == '')
		return t.page.click('[data-name=' + name + '] .cbi-dropdown li[data-value=""]');
	await t.page.fill('[data-name=' + name + '] .create-item-input', value);
	await t.page.keyboard.press('Enter');
}

/* what a field proposes */
const proposed = (t, name) => t.page.$$eval('[data-name=' + name + '] datalist option, [data-name=' + name + '] .cbi-dropdown li[data-value]', all =>
	all.map(e => e.value || e.dataset.value));

async function form(t) {
	const { page } = t;

	await t.open(interfaces);
	await page.waitForSelector('tr[data-section-id=hq] ' + (t.client.name == 'stand-in' ? '[data-device="hq, tunnel"]' : 'img[src*="/tunnel"]'));
	await t.shot('interfaces');
	await edit(t, 'hq');
	await t.until('the check has nothing to say', async () => /nothing to complain/.test(await text(page, '[data-greseal=check]')), 20);

	for (const name of [ 'general', 'security', 'gre', 'advanced', 'peer' ]) {
		await tab(t, name);
		if (name == 'peer') {
			await page.click('.modal [data-name=_show] button');
			await page.waitForSelector('[data-greseal=peer] pre');
			assert.match(await text(page, '[data-greseal=peer]'), /connections \{.*192\.0\.2\.1/);
		}
		await t.shot('form-' + name);
		if (t.client.name != 'openwrt2020') /* its own lists stick out of any form on a phone */
			await fits(t, '.modal');
	}

	/* The first tab has what a tunnel needs, in this order; the key is hidden until it is asked for. */
	await tab(t, 'general');

	const order = await page.$$eval('.modal [data-tab=general] [data-name]', all => all.map(e => e.dataset.name));

	assert.deepEqual([ 'remote', '_auth', 'psk', '_genpsk', 'address', 'routes', '_zone', 'remote_port', 'local' ].map(n => order.indexOf(n)).filter((n, i, all) => n < 0 || i && n < all[i - 1]), [], order.join());
	if (t.client.name == 'stand-in')
		assert.deepEqual(await proposed(t, 'local'), [ 'wan' ]);
	assert.equal(await page.getAttribute(field('psk'), 'type'), 'password');
	assert.equal(await page.isVisible('[data-name=cert]'), false);
}

/* The other side's configuration, for each product there is: it follows what is
 * chosen, has the key when that is asked for, and can be taken along. */
async function everyVendor(t) {
	const { page } = t;

	await edit(t, 'hq');
	await tab(t, 'peer');
	if (t.client.name == 'stand-in')
		assert.deepEqual(await proposed(t, '_own'), [ 'home.example.net', '192.0.2.1' ]);
	await enter(t, '_own', '198.51.100.7');
	await page.click('.modal [data-name=_show] button');
	for (const [ vendor, want ] of Object.entries({
		strongswan: /swanctl/, libreswan: /conn /, mikrotik: /\/ip ipsec/, cisco: /crypto ikev2/, vyos: /set vpn ipsec/, openwrt: /config interface 'hq'/, greseal: /\[\[tunnel\]\]/
	})) {
		await page.selectOption('.modal [data-name=_vendor] select', vendor);
		await t.until('the configuration for ' + vendor, async () => want.test(await text(page, '[data-greseal=peer]')), 20);

		const shown = await text(page, '[data-greseal=peer]');

		assert.match(shown, /198\.51\.100\.7/);
		assert(!shown.includes(t.key), 'the key is shown');
		assert(!/--(show-secrets|own|peer)/.test(shown), 'flags of a command line: ' + shown);
		await t.shot('peer-' + vendor);
	}

	await page.check('.modal [data-name=_secrets] input[type=checkbox]');
	await t.until('the key is there', async () => (await text(page, '[data-greseal=peer] pre')).includes(t.key), 20);

	const [ file ] = await Promise.all([ page.waitForEvent('download'), page.click('[data-greseal=peer] [data-action=download]') ]);

	assert.equal(file.suggestedFilename(), 'hq-greseal.toml');
	assert.equal(require('fs').readFileSync(await file.path(), 'utf8'), await page.textContent('[data-greseal=peer] pre'));

	await page.evaluate(() => document.addEventListener('copy', () => window.copied = window.getSelection().toString()));
	await page.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined }));
	await page.click('[data-greseal=peer] [data-action=copy]');
	assert.match(await page.evaluate(() => window.copied), /^# greseal/);
}
everyVendor.screens = [ 'desktop' ];

/* What the daemon would refuse, the form refuses, in the same words. */
async function validators(t) {
	const { page } = t;
	const type = async (name, value) => {
		await page.fill(field(name), '');
		await page.focus(field(name));
		await page.keyboard.type(value);
		await page.keyboard.press('Tab');
	};

	await edit(t, 'hq');
	for (const [ where, name, value, want ] of [
		[ 'general', 'remote', '192.0.2.1/24', /prefix length/ ],
		[ 'general', 'address', '10.1.1.0/24', /address of the network itself/ ],
		[ 'general', 'routes', '10.1.1.1/24', /bits set behind/ ],
		[ 'general', 'remote_port', '70000', /from 1 to 65535/ ],
		[ 'security', 'ike', 'aes256', /integrity/ ],
		[ 'security', 'esp', 'aes128gcm16-sha256', /carries its own integrity/ ],
		[ 'security', 'remote_id', 'any', /leave the field empty/ ],
		[ 'gre', 'gre_key', '-3', /from 0 to 4294967295/ ],
		[ 'advanced', 'dpd', '10', /no unit/ ],
		[ 'advanced', 'child_bytes', 'much', /not a size/ ]
	]) {
		await tab(t, where);
		await type(name, value);
		await invalid(t, name);
		assert.match(await page.getAttribute('[data-name=' + name + '] .cbi-input-invalid', 'data-tooltip'), want);
		if (name == 'gre_key')
			await t.shot('form-invalid');
		await page.fill(field(name), '');
		await page.focus(field(name));
		await page.keyboard.press('Tab');
		await page.waitForSelector('[data-name=' + name + '] .cbi-input-invalid', { state: 'detached' });
	}

	/* Two values that do not go together: saving is refused and says why. */
	await tab(t, 'general');
	await enter(t, 'local', there(t));
	await tab(t, 'gre');
	await save(t);
	await t.until('the mistake is shown', async () => /Remote: .*is also local/.test(await text(page, '[data-greseal=check]')), 20);
	assert(await page.isVisible('[data-greseal=check]'), 'the check is on a tab that is not shown');
	assert.match(await text(page, '[data-name=remote] [data-mistake]'), /is also local/);
	await t.shot('form-refused');
	assert.deepEqual(await t.router.changes(), {});
	await enter(t, 'local', '');

	/* Another tab: it is opened, and the message is about its fields. */
	await tab(t, 'advanced');
	await type('mtu', '1200');
	await tab(t, 'general');
	await page.fill(field('address'), 'fd00:77::1/64');
	await page.click('[data-name=address] .cbi-button-add');
	await save(t);
	await page.waitForSelector('[data-name=mtu] [data-mistake]', { state: 'visible' });
	assert.match(await text(page, '[data-name=mtu] [data-mistake]'), /write at least 1280, or leave the field empty$/);
	await t.shot('form-refused-tab');
	await type('mtu', '');

	/* Mended, with a new key, it is saved. */
	await tab(t, 'general');

	const old = await page.inputValue(field('psk'));

	await page.click('.modal [data-name=_genpsk] button');
	await t.until('there is a new key', async () => await page.inputValue(field('psk')) != old, 20);

	const key = await page.inputValue(field('psk'));

	assert.match(key, /^[\w+/]{43}=$/);
	await save(t);
	await t.until('it is saved', async () => ((await t.router.changes()).network || []).some(c => c[0] == 'set' && c[1] == 'hq' && c[2] == 'psk' && c[3] == key), 20);
	await t.router.revert();
}
validators.screens = [ 'desktop' ];
const there = t => t.lab.constructor.there(0);

/* Certificates and keys come in by the form, and a raw key is made in it. */
async function files(t) {
	const { page } = t, give = async (name, file, text) => {
		const [ chooser ] = await Promise.all([ page.waitForEvent('filechooser'), page.click('[data-name=_upload_' + name + '] button') ]);

		await chooser.setFiles({ name: file, mimeType: 'text/plain', buffer: Buffer.from(text) });
	};

	await edit(t, 'hq');
	await page.selectOption('.modal [data-name=_auth] select', 'raw_key');
	await page.click('.modal [data-name=_genkey] button');
	await page.waitForSelector('[data-public]');
	assert.match(await page.textContent('[data-public]'), /BEGIN PUBLIC KEY/);
	assert.match(await page.inputValue(field('raw_key')), /\/hq-raw-key(-\d+)?\.pem$/);

	await give('peer_raw_key', 'theirs.pub', await page.textContent('[data-public]'));
	await t.until('the file is kept', async () => /\/hq-peer-raw-key(-\d+)?\.pem$/.test(await page.inputValue(field('peer_raw_key'))), 20);
	await t.shot('raw-key');
	await fits(t, '.modal');

	await page.selectOption('.modal [data-name=_auth] select', 'cert');
	await give('ca', 'letter.txt', 'Dear sir');
	await t.until('what is no certificate is refused', async () => /not a file in PEM form with a certificate/.test(await text(page, '#maincontent')), 20);
	assert.deepEqual(await page.$$('[data-name=ca] .item'), []);
}
files.screens = [ 'desktop', 'phone' ];

/* A new interface: name, protocol, remote, address, key; then it is the daemon's. */
async function firstTunnel(t) {
	const { page } = t;

	const create = async name => {
		await t.open(interfaces);
		await page.click('button:has-text("Add new interface")');
		if (t.client.name == 'stand-in') {
			await page.fill('[data-new-name]', name);
			await page.selectOption('[data-new-proto]', 'greseal');
		}
		else {
			await page.fill('.modal input[type=text]', name);
			await page.selectOption('.modal select', 'greseal');
		}
		await page.click('.modal button:has-text("Create interface")');
	};

	/* Names that are taken: by a tunnel, and by an interface of the kernel. */
	for (const [ name, want ] of [ [ 'branch', /the name of the tunnel/ ], [ 'wan', /name of a network interface/ ] ]) {
		if (t.client.root && name == 'wan')
			continue; /* LuCI itself refuses names of its own networks */
		await create(name);
		await t.until('the name is refused', async () => want.test(await text(page, '#maincontent')), 20);
		if (name == 'wan')
			await t.shot('new-interface-taken');
		assert.deepEqual(await t.router.changes(), {});
	}

	await create('first');
	await page.waitForSelector('[data-greseal=check] > *');
	await t.shot('new-interface');

	await save(t);
	await t.until('it says what is missing', async () => /Remote: is missing.*no way to authenticate/.test(await text(page, '[data-greseal=check]')), 20);
	await t.shot('new-interface-refused');

	for (const [ name, value ] of [ [ 'remote', t.lab.constructor.there(3) ], [ 'address', '10.255.9.1/30' ] ]) {
		await page.fill(field(name), value);
		await page.click('[data-name=' + name + '] .cbi-button-add');
	}
	await page.click('.modal [data-name=_genpsk] button');
	await t.until('there is a key', async () => (await page.inputValue(field('psk'))).length == 44, 20);
	await save(t);
	await t.until('it is staged', async () => ((await t.router.changes()).network || []).some(c => c[1] == 'first' && c[2] == 'psk'), 20);

	/* Save & Apply writes the file, and netifd and procd have the daemon read it. */
	await t.router.apply(page);
	await t.until('the daemon has it', async () => (await t.router.greseal('status', {})).tunnels.some(x => x.name == 'first' && x.netifd), 20);
	await t.open(status);
	await page.waitForSelector('[data-tunnel=first]');
}
firstTunnel.screens = [ 'desktop' ];

/* An answer that is late or lost, and a daemon that is not there. */
async function trouble(t) {
	const { page } = t;

	await t.open(status);
	await page.waitForSelector('[data-tunnel=hq]');

	t.server.delay = 4000;
	const before = t.router.calls.length;

	await page.waitForTimeout(6000);
	assert(t.router.calls.length - before <= 3, 'requests pile up: ' + (t.router.calls.length - before));
	assert(await page.isVisible('[data-tunnel=hq]'));
	t.server.delay = 0;

	t.router.played = { list: () => { throw 7; } };
	await page.waitForSelector('[data-notice=lost]');
	assert(await page.isVisible('[data-tunnel=hq]'), 'a lost answer takes the table away');
	t.router.played = null;
	await page.waitForSelector('[data-notice=lost]', { state: 'detached' });

	await t.lab.halt();
	await page.waitForSelector('[data-notice=stopped]');
	assert.match(await text(page, '[data-notice=stopped]'), /not running.*start/);
	await t.shot('stopped');
	await t.lab.router();
	await page.waitForSelector('[data-tunnel=hq] [data-state=up]');
}
trouble.screens = [ 'desktop' ];

/* A router on which nothing was done yet: no tunnel, and a netifd that was started
 * before greseal was installed. */
async function empty(t) {
	const { page } = t;

	if (t.client.root)
		return; /* whose netifd knows the protocol */

	const fs = require('fs'), file = require('path').join(t.lab.folder, 'greseal'), kept = fs.readFileSync(file, 'utf8');

	await t.lab.halt();
	t.lab.put('greseal', kept.split('\n\n')[0] + '\n');
	t.router.handlers = { static: {} };
	await t.open(status);
	await page.waitForSelector('[data-empty] a[href*="admin/network/network"]');
	await page.waitForSelector('[data-notice=handler]');
	assert.equal(await page.isVisible('[data-notice=stopped]'), false);
	await t.shot('empty');
	await fits(t);

	await page.click('[data-action=restart-network]');
	await page.waitForSelector('[data-action=really-restart]');
	assert.match(await text(page, '.modal'), /Every interface of this router goes down/);
	await t.shot('restart-network');
	t.router.played = { network_restart: () => ({ ok: true, lines: [] }) };
	await page.click('[data-action=really-restart]');
	await t.until('the network is restarted', () => t.router.calls.includes('luci.greseal.network_restart'), 20);
	await page.waitForSelector('.modal', { state: 'detached' });

	t.router.played = t.router.handlers = null;
	t.lab.put('greseal', kept);
	await t.lab.router();
	await t.open(status);
	await page.waitForSelector('[data-tunnel=hq] [data-state=up]');
	assert.equal(await page.isVisible('[data-notice=handler], [data-empty]'), false);
}

/* Connecting, as it is after a restart while the other side is silent. */
async function connecting(t) {
	t.lab.in(t.lab.a, 'ip', 'link', 'set', 'wan', 'down');
	t.lab.in(t.lab.a, 'ip', 'link', 'set', 'wan', 'up');
	t.lab.in(t.lab.b, 'ip', 'link', 'set', 'wan', 'down');
	await t.router.greseal('restart', { tunnel: 'hq' });
	await t.open(status);
	await t.page.waitForSelector('[data-tunnel=hq] [data-state=connecting], [data-tunnel=hq] [data-state=waiting], [data-tunnel=hq] [data-state=down]');
	await t.shot('connecting');
	t.lab.in(t.lab.b, 'ip', 'link', 'set', 'wan', 'up');
	await t.router.greseal('restart', { tunnel: 'hq' });
	await t.page.waitForSelector('[data-tunnel=hq] [data-state=up]', { timeout: 60000 });
	await t.shot('up');
	await fits(t);
}

async function thirty(t) {
	const { page } = t;

	await t.open(status);
	await page.waitForSelector('[data-tunnel=site30]');
	await page.waitForTimeout(2500);
	await t.shot('status');
	await fits(t);
	assert.equal((await page.$$('[data-tunnel]')).length, 30);
	assert(!t.router.calls.includes('luci.greseal.list with history'), 'a line has no room for a plot');
	assert.equal((await page.$$('[data-state=up]')).length, 25);
	assert.equal((await page.$$eval('[data-reason]', all => all.filter(e => e.offsetHeight > 0).length)), 5);

	/* A line each, the failing ones first, and any of them in full. */
	assert((await page.$$eval('[data-tunnel]', all => all.slice(0, 5).map(e => e.dataset.tunnel).sort().join())) == 'site12,site18,site24,site30,site6');
	const tall = name => page.$eval('[data-tunnel=' + name + ']', e => e.offsetHeight);

	if (!t.screen.startsWith('phone'))
		assert(await tall('site1') < 60, 'a line is ' + await tall('site1') + ' pixels high');
	assert.equal(await page.isVisible('[data-action=down]'), false);
	await page.click('[data-tunnel=site1] [data-action=more]');
	await page.waitForSelector('[data-tunnel=site1] [data-action=down]');
	await t.shot('one-in-full');
	await fits(t);
	await page.click('[data-tunnel=site2] [data-action=more]');
	await page.waitForSelector('[data-tunnel=site1] [data-action=more]');
}

/* A thousand, most of which wait for a line that is not there. */
async function thousand(t) {
	const { page } = t, shown = () => page.$$eval('[data-tunnel]', all => all.filter(e => e.offsetHeight > 0).map(e => e.dataset.tunnel));

	await t.open(status);
	await page.waitForSelector('[data-tunnel=spare970]');
	assert.equal((await shown()).length, 1000);
	assert.equal(await text(page, '[data-count=up]'), '25 up');
	assert.equal(await text(page, '[data-count=waiting]'), '970 waiting');
	await fits(t);
	await page.screenshot({ path: t.file('status') }); /* the first screen of many */

	/* What is in sight follows the answers, what is not waits until it is. */
	const since = name => text(page, '[data-tunnel=' + name + '] [data-title=State]');
	const far = await since('site29'), near = await since('site6');

	await t.until('the first row is brought up to date', async () => await since('site6') != near, 60);
	assert.equal(await since('site29'), far);
	await page.$eval('[data-tunnel=site29]', e => e.scrollIntoView());
	await t.until('the last row is brought up to date', async () => await since('site29') != far, 60);

	/* Some can be found, and stay found when the next answer comes. */
	await page.fill('[data-find]', 'Authentication failed');
	await t.until('only these are shown', async () => (await shown()).join() == 'site6,site12,site18,site24,site30', 20);
	const calls = t.router.calls.length;
	await t.until('there was another answer', () => t.router.calls.length > calls + 1, 60);
	assert.equal((await shown()).length, 5);
	await t.shot('found');
	await fits(t);
	await page.fill('[data-find]', 'no such tunnel');
	await page.waitForSelector('text=No tunnel matches.');
	assert.deepEqual(await shown(), []);
	await page.fill('[data-find]', 'restart');
	assert.deepEqual(await shown(), [], 'a button was found');
	await page.fill('[data-find]', '');
	assert.equal((await shown()).length, 1000);

	/* A count shows those that are counted, and all again. */
	await page.click('[data-count=up]');
	assert.equal((await shown()).length, 25);
	await t.shot('only-up');
	await page.click('[data-count=up]');
	assert.equal((await shown()).length, 1000);
	assert(!t.router.calls.includes('luci.greseal.status'), 'the list needs no more than the list');
}
thousand.screens = [ 'desktop', 'phone' ];

/* The file had mistakes at the start: which config runs, and what each mistake closes. */
async function instead(t) {
	const { page } = t;

	await t.open(status);
	await page.waitForSelector('[data-notice=config]');
	await t.shot('instead');
	await fits(t);

	const notice = await text(page, '[data-notice=config]');

	for (const want of [ /had mistakes when greseal was started/, /no earlier config is kept; 2 of the file's tunnels run, and the networks of the 2 with mistakes are closed/, /"small": mtu/, /too many arguments/ ])
		assert.match(notice, want);
	assert(!notice.includes(t.key), 'the key is shown');
	assert.equal(await page.getAttribute('[data-tunnel=hq] [data-state]', 'data-state'), 'up');

	for (const [ name, want ] of [ [ 'small', /mtu/ ], [ 'torn', /too many arguments/ ] ]) {
		assert.equal(await page.getAttribute('[data-tunnel=' + name + '] [data-state]', 'data-state'), 'down');
		assert.match(await text(page, '[data-reason=' + name + ']'), want);
	}
}

/* Two peers want one tunnel: it is up, and the page says who was turned away. */
async function contended(t) {
	const { page } = t, said = () => text(page, '[data-reason=door]');

	await t.open(status);
	await page.waitForSelector('[data-tunnel=door] [data-state=up]');
	await t.until('the other peer is named', async () => /[\d.]+ at [\d.]+:\d+ was turned away \(\d+×, last .* ago\): the tunnel has [\d.]+ at .*What to do: give each peer/.test(await said()), 60);
	assert(await page.isVisible('[data-reason=door]'));
	await t.shot('contended');
	await fits(t);
	await page.click('[data-tunnel=door] [data-action=details]');
	await page.waitForSelector('.modal [data-contention]');
	await t.shot('contended-details');
	await fits(t, '.modal');
}

/* The other side's MTU is the lower one, and the page says so; also why ESP is in UDP. */
async function lowerMTU(t) {
	const { page } = t;

	await t.open(status);
	await t.until("the other side's MTU is taken", async () => /MTU 1300 ?that of the other side/.test(await text(page, '[data-tunnel=hq] [data-title=Outside]')), 30);
	assert.match(await page.getAttribute('[data-tunnel=hq] [data-title=Outside] [title]', 'title'), /faster in UDP/);
	await page.click('[data-tunnel=hq] [data-action=details]');
	await page.waitForSelector('.modal .cbi-tabmenu');
	await page.click('.modal .cbi-tabmenu [data-tab=traffic] a');
	assert.match(await text(page, '.modal [data-mtu=peer]'), /14\d\d fit here and 1300 at the other side\. Decided by: the other side\./);
	await t.shot('lower-mtu');
	await fits(t, '.modal');
}

module.exports = {
	few: [ statusPage, beforeTheVisit, doctor, details, detailsFollow, setDown, notClosed, notEnabled, downAndUp, readOnly, form, everyVendor, files, validators, firstTunnel ],
	one: [ connecting, trouble, empty ],
	mistaken: [ instead, contended, lowerMTU ],
	many: [ thirty ],
	crowd: [ thousand ]
};

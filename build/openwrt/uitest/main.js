'use strict';
/* The browser test of the LuCI pages: two routers with greseal, the pages in
 * Chromium, screenshots of all there is to see, and checks of what they show. An
 * error on the console, a call that is refused, a file that is not there or a
 * request that never ends is a failure.
 *
 *   main.js GRESEAL OUT [CHECKOUT [THEME...]]
 *   main.js GRESEAL OUT ROOT
 *
 * The pages run on the stand-in of this folder. With a checkout of LuCI's sources
 * they also run on the real client, in each of its themes, or only in those named;
 * with the root folder of an OpenWrt, only on a whole router made from it. */

const fs = require('fs');
const os = require('os');
const path = require('path');
const { chromium } = require('playwright-core');

const { Lab, psk, here, there } = require('./lab.js');
const { Router } = require('./ubus.js');
const { Server } = require('./server.js');
const { RootLab, RealRouter, Relay } = require('./rootfs.js');
const { standIn, real, packages } = require('./client.js');
const checks = require('./checks.js');

const [ greseal, out, checkout, ...themes ] = process.argv.slice(2);
const only = (process.env.ONLY || '').split(',').filter(s => s); /* scenes, by name; without it all */

const switches = [ '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
	'--disable-component-update', '--disable-sync' ];

/* Light and dark, a desk and a hand. */
const screens = {
	desktop: { viewport: { width: 1280, height: 900 }, colorScheme: 'light' },
	dark: { viewport: { width: 1280, height: 900 }, colorScheme: 'dark' },
	phone: { viewport: { width: 390, height: 844 }, screen: { width: 390, height: 844 }, isMobile: true, hasTouch: true, colorScheme: 'light' },
	'phone-dark': { viewport: { width: 390, height: 844 }, screen: { width: 390, height: 844 }, isMobile: true, hasTouch: true, colorScheme: 'dark' }
};

const uci = (type, name, options) => 'config ' + type + " '" + name + "'\n" + Object.entries(options).map(([ k, v ]) =>
	[].concat(v).map(item => '\t' + (Array.isArray(v) ? 'list' : 'option') + ' ' + k + " '" + item + "'\n").join('')).join('') + '\n';

/* Up by an interface of netifd and by a section of its own; one whose key is
 * another; one where nobody is. */
function few(lab) {
	lab.put('network', uci('interface', 'loopback', { proto: 'static' }) +
		uci('interface', 'hq', { proto: 'greseal', remote: there(0), psk, address: [ '10.255.0.1/30' ], routes: [ '10.9.0.0/16' ] }));
	lab.put('ddns', uci('service', 'home', { enabled: '1', lookup_host: 'home.example.net' }));
	lab.put('greseal', uci('daemon', 'daemon', { datapath: 'userspace', status_socket: lab.socket }) +
		uci('tunnel', 'branch', { remote: there(1), psk, address: [ '10.255.1.1/30' ] }) +
		uci('tunnel', 'wrong', { remote: there(2), psk, address: [ '10.255.2.1/30' ] }) +
		uci('tunnel', 'nobody', { remote: there(60), psk, address: [ '10.255.3.1/30' ], routes: [ '10.77.0.0/16' ] }));

	return [ [ 'hq', 0, psk ], [ 'branch', 1, psk ], [ 'wrong', 2, psk + 'x' ] ];
}

/* Thirty, all up but every sixth. */
function many(lab) {
	let text = uci('daemon', 'daemon', { datapath: 'userspace', status_socket: lab.socket });
	const peers = [];

	lab.put('network', uci('interface', 'loopback', { proto: 'static' }));

	for (let i = 1; i <= 30; i++) {
		text += uci('tunnel', 'site' + i, { remote: there(i), psk, address: [ '10.254.' + i + '.1/30' ] });
		peers.push([ 'site' + i, i, i % 6 ? psk : psk + 'x' ]);
	}
	lab.put('greseal', text);
	return peers;
}

/* These thirty, and many more whose line is not there. */
function crowd(lab) {
	const peers = many(lab), file = path.join(lab.folder, 'greseal');

	for (let i = 1; i <= 970; i++)
		fs.appendFileSync(file, uci('tunnel', 'spare' + i, {
			remote: '10.99.' + (i >> 8) + '.' + (i & 255), local: 'wwan0', psk, address: [ '10.' + (100 + (i >> 8)) + '.' + (i & 255) + '.1/30' ]
		}));

	return peers;
}

function one(lab) {
	lab.put('network', uci('interface', 'loopback', { proto: 'static' }));
	lab.put('greseal', uci('daemon', 'daemon', { datapath: 'userspace', status_socket: lab.socket }) +
		uci('tunnel', 'hq', { remote: there(0), psk, address: [ '10.255.0.1/30' ] }));
	return [ [ 'hq', 0, psk ] ];
}

/* One up, with the other side's MTU; one that two want; two with a mistake. */
function mistaken(lab) {
	lab.put('network', uci('interface', 'loopback', { proto: 'static' }));
	lab.put('greseal', uci('daemon', 'daemon', { datapath: 'userspace', status_socket: lab.socket }) +
		uci('tunnel', 'hq', { remote: there(0), psk, address: [ '10.255.0.1/30' ] }) +
		uci('tunnel', 'door', { remote: 'any', psk, address: [ '10.255.1.1/30' ] }) +
		uci('tunnel', 'small', { remote: there(3), psk, mtu: '20', routes: [ '10.77.0.0/16' ] }) +
		uci('tunnel', 'torn', { remote: there(4), psk, routes: [ '10.78.0.0/16' ] }).replace("routes '", 'routes x y\n\tlist routes \''));
	lab.third(`[[tunnel]]\nname = "door"\nremote = "198.51.100.1"\npsk = "${psk}"\naddress = ["10.255.1.2/30"]\n`);
	return [ [ 'hq', 0, psk, 'mtu = 1300\n' ], [ 'door', 1, psk ] ];
}

const toml = peers => peers.map(([ name, i, key, more ]) =>
	`[[tunnel]]\nname = "${name}"\nlocal = "${there(i)}"\nremote = "${here}"\npsk = "${key}"\naddress = ["10.${name[0] == 's' ? '254.' + i : '255.' + i}.2/30"]\n${more || ''}`).join('');

async function until(what, fn, seconds = 60) {
	for (const end = Date.now() + seconds * 1000; Date.now() < end; await new Promise(r => setTimeout(r, 300)))
		if (await fn())
			return;
	throw new Error('it never happened that ' + what);
}

/* the interfaces of netifd, as the daemon's state makes them */
const netifd = lab => () => [ {
	interface: 'wan', up: true, proto: 'static', l3_device: 'wan', device: 'wan', 'ipv4-address': [ { address: here, mask: 24 } ], 'ipv6-address': [],
	route: [ { target: '0.0.0.0', mask: 0, nexthop: there(0), source: '0.0.0.0/0' } ], errors: [], data: {}
}, {
	interface: 'hq', up: true, pending: false, available: true, autostart: true, dynamic: false, uptime: 60, l3_device: 'hq', proto: 'greseal', device: 'hq',
	'ipv4-address': [ { address: '10.255.0.1', mask: 30 } ], 'ipv6-address': [], 'ipv6-prefix': [], 'ipv6-prefix-assignment': [], route: [], 'dns-server': [],
	errors: [ { subsystem: 'greseal', code: 'AUTH_FAILED', data: [] } ], data: {}
} ];

async function play(browser, client, situation, scenes, name) {
	if (only.length && !scenes.some(s => only.includes(s.name)))
		return;

	const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'gsui')), lab = client.root ? new RootLab(greseal, dir, client.root) : new Lab(greseal, dir);
	let server;

	try {
		lab.peer(toml(situation(lab)));
		for (const p of [ 'dhcp', 'firewall', 'wireless', 'system', 'luci' ])
			lab.put(p, '');
		lab.router();

		const acls = [ 'luci-app-greseal', 'luci-proto-greseal' ].map(p => JSON.parse(fs.readFileSync(path.join(packages, p, 'root/usr/share/rpcd/acl.d', p + '.json'))));
		const router = client.root ? new RealRouter(lab) : new Router({ lab, plugin: lab.plugin, folder: lab.folder, acls, interfaces: netifd(lab) });

		await until('the tunnels are up', async () => {
			const res = await router.greseal('list', {});
			return res.ok && res.tunnels.every(t => t.state == 'up' || situation.down(t.name) && (t.reason || t.waiting_for));
		}, 90);

		server = client.root ? new Relay(router) : new Server(client, router);
		await server.listen();

		for (const [ screen, options ] of Object.entries(screens)) {
			const context = await browser.newContext(options), page = await context.newPage(), wrong = [];

			page.on('console', m => { if (m.type() == 'error' || m.type() == 'warning') wrong.push('console: ' + m.text()); });
			page.on('pageerror', e => wrong.push('error: ' + (e.stack || e)));
			page.setDefaultTimeout(30000);

			const t = {
				client, lab, router, server, page, screen, until, key: psk,
				open: async where => {
					if (server.enter)
						await server.enter(context);
					await page.goto(server.url + '/cgi-bin/luci/' + where);
				},
				file: what => path.join(out, client.name, [ name, what, screen ].join('-') + '.png'),
				shot: async what => {
					await page.waitForTimeout(450); /* themes fade tabs and dialogs in */
					await page.screenshot({ path: t.file(what), fullPage: true });
				}
			};

			for (const scene of scenes) {
				if (scene.screens && !scene.screens.includes(screen) || only.length && !only.includes(scene.name))
					continue;
				await scene(t).catch(async e => {
					await t.shot('failed').catch(() => {});
					throw new Error(client.name + ', ' + name + ', ' + screen + ', ' + scene.name + ': ' + e.stack + '\n' + wrong.join('\n'));
				});
				console.log('  ok  ' + [ client.name, name, screen, scene.name ].join('  '));
			}
			await context.close();

			wrong.push(...router.faults, ...server.missing.filter(f => !f.includes('/protocol/')).map(f => 'not there: ' + f));
			if (wrong.length)
				throw new Error(client.name + ', ' + name + ', ' + screen + ':\n' + wrong.join('\n'));
		}
	}
	catch (e) {
		for (const f of fs.readdirSync(dir).filter(f => f.startsWith('log.')))
			console.log(f + ':\n' + fs.readFileSync(path.join(dir, f), 'utf8').split('\n').slice(-12).join('\n'));
		throw e;
	}
	finally {
		if (server)
			await server.close();
		await lab.close();
		fs.rmSync(dir, { recursive: true });
	}
}

few.down = name => name == 'wrong' || name == 'nobody';
many.down = name => +name.slice(4) % 6 == 0;
crowd.down = name => name.startsWith('spare') || many.down(name);
one.down = () => false;
mistaken.down = name => name == 'small' || name == 'torn';

(async () => {
	const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'gschromium'));
	const clients = checkout && fs.existsSync(path.join(checkout, 'etc/rc.common')) ? [ { name: 'router', root: checkout } ]
		: themes.length ? themes.map(t => real(checkout, t))
		: checkout ? [ standIn, ...[ 'bootstrap', 'material', 'openwrt2020' ].map(t => real(checkout, t)) ] : [ standIn ];
	const launched = await chromium.launchPersistentContext(profile, { executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: switches });
	const browser = launched.browser() || { newContext: o => { throw new Error('no browser'); } };

	try {
		for (const client of clients) {
			fs.mkdirSync(path.join(out, client.name), { recursive: true });
			await play(browser, client, few, checks.few, 'few');
			await play(browser, client, one, checks.one, 'one');
			if (!client.root) /* whose init script hands the file to the daemon in its own way */
				await play(browser, client, mistaken, checks.mistaken, 'mistaken');
			await play(browser, client, many, checks.many, 'many');
			await play(browser, client, crowd, checks.crowd, 'crowd');
		}
		console.log('The screenshots are in ' + out + '.');
	}
	catch (e) {
		console.error(e.stack || e);
		process.exitCode = 1;
	}
	finally {
		await launched.close();
		fs.rmSync(profile, { recursive: true, force: true });
	}
})();

'use strict';
/* A whole router in place of the stand-ins: the userland of an OpenWrt root
 * folder, with its own ubusd, procd, rpcd, netifd, firewall, uhttpd and LuCI, and
 * greseal's packages in it. The folder is not written to. */

const fs = require('fs');
const http = require('http');
const path = require('path');
const { execFile, execFileSync } = require('child_process');
const { promisify } = require('util');

const { Lab, here } = require('./lab.js');

const packages = path.join(__dirname, '..');

/* What boots it. procd is not the first process, and leaves devices alone. */
const boot = `
mount -t proc proc "$1/proc"; mount -t sysfs sysfs "$1/sys"; mount -t tmpfs tmpfs "$1/tmp"; mount -t tmpfs tmpfs "$1/dev"
cd "$1/dev" && mkdir net pts shm && mknod net/tun c 10 200
for d in null:3 zero:5 random:8 urandom:9; do mknod -m 666 "\${d%:*}" c 1 "\${d#*:}"; done
exec chroot "$1" /bin/sh -c '
	export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
	mkdir -p /var/run/ubus /var/lock /var/log /tmp/.uci /tmp/resolv.conf.d
	: >/tmp/resolv.conf.d/resolv.conf.auto
	ubusd & sleep 1
	procd -S & sleep 1
	for s in log rpcd network firewall uhttpd greseal; do /etc/init.d/$s start; done
	reload_config
	while :; do sleep 1000; done'`;

/* Who logs in to the test: one who may do everything, and one who may only look. */
const login = (user, hash, more) => `
config login
	option username '${user}'
	option password '${hash}'
	list read '*'
${more}`;
const logins = login('test', '$1$greseal$DrXBfAzrDv4sTNWkbmr9F/', "\tlist write '*'\n") + login('look', '$1$greseal$oNZcoGCryguTvbuAQ6u440', '');

class RootLab extends Lab {
	constructor(greseal, dir, root) {
		super(greseal, dir);
		this.root = path.join(dir, 'root');
		for (const d of [ 'root', 'over' ])
			fs.mkdirSync(path.join(dir, d));
		run('mount', '-t', 'tmpfs', 'tmpfs', path.join(dir, 'over'));
		for (const d of [ 'upper', 'work' ])
			fs.mkdirSync(path.join(dir, 'over', d));
		run('mount', '-t', 'overlay', 'overlay', '-o', 'lowerdir=' + path.resolve(root) + ',upperdir=' + dir + '/over/upper,workdir=' + dir + '/over/work', this.root);

		/* The packages' files, as they install them. */
		for (const from of [ 'root/greseal', 'luci/luci-app-greseal/root', 'luci/luci-proto-greseal/root' ])
			run('cp', '-a', path.join(packages, from) + '/.', this.root);
		for (const p of [ 'app', 'proto' ])
			run('cp', '-a', path.join(packages, 'luci/luci-' + p + '-greseal/htdocs') + '/.', path.join(this.root, 'www'));
		run('cp', greseal, path.join(this.root, 'usr/sbin/greseal'));

		this.folder = path.join(this.root, 'etc/config');
		this.socket = '/var/run/greseal/status.sock';
		fs.appendFileSync(path.join(this.folder, 'rpcd'), logins);
	}

	/* Its own files are the router's business, but for these two. */
	put(name, text) {
		if (name == 'network')
			text += `\nconfig interface 'wan'\n\toption device 'wan'\n\toption proto 'static'\n\tlist ipaddr '${here}/24'\n`;
		if (name == 'network' || name == 'greseal')
			super.put(name, text);
	}

	router() {
		if (this.booted)
			return this.sh('/etc/init.d/greseal start');
		this.booted = this.start(this.a, [ 'unshare', '-m', '-p', '-f', '--kill-child', 'sh', '-c', boot, 'sh', this.root ]);
	}

	halt() { return this.sh('/etc/init.d/greseal stop'); }

	/* runs a command inside */
	async sh(command) {
		const [ init ] = fs.readFileSync(`/proc/${this.booted.pid}/task/${this.booted.pid}/children`, 'utf8').split(' ');
		const { stdout } = await promisify(execFile)('nsenter', [ '-t', init, '-m', '-p', '-n', '-r', '-w', '/bin/sh', '-c',
			'export PATH=/usr/sbin:/usr/bin:/sbin:/bin; ' + command ], { maxBuffer: 1 << 24 });

		return stdout;
	}

	async ubus(object, method, args) {
		return JSON.parse(await this.sh(`ubus -S -t 30 call ${object} ${method} '${JSON.stringify(args)}'`) || '{}');
	}

	async close() {
		if (this.booted) {
			const gone = new Promise(resolve => this.booted.once('exit', resolve));

			this.booted.kill('SIGKILL');
			await gone;
		}
		await super.close();
		for (const d of [ 'root', 'over' ])
			run('umount', '-l', path.join(this.dir, d));
	}
}

/* What the checks ask of a router. */
class RealRouter {
	constructor(lab) { Object.assign(this, { lab, readonly: false, faults: [], calls: [] }); }

	greseal(method, args) { return this.lab.ubus('luci.greseal', method, args).catch(() => ({})); }
	async changes() { return (await this.lab.ubus('uci', 'changes', { ubus_rpc_session: this.session })).changes; }
	revert() { return this.lab.ubus('uci', 'revert', { config: 'network', ubus_rpc_session: this.session }); }

	async apply(page) {
		this.calls = this.calls.filter(c => c != 'confirm');
		await page.click('.cbi-page-actions .cbi-button-apply');
		for (let i = 0; !this.calls.includes('confirm'); i++, await new Promise(r => setTimeout(r, 500)))
			if (i > 60)
				throw new Error('LuCI did not confirm what it applied');
	}
}

/* Of these LuCI asks on its own account, also where there is none of it. */
const hardware = [ 'luci-rpc', 'iwinfo', 'file' ];

/* The way from the browser to the router's web server, which is in a namespace. It
 * looks into the calls that pass, and can delay them. */
class Relay {
	constructor(router) {
		Object.assign(this, { router, missing: [], sessions: {}, socket: path.join(router.lab.dir, 'http') });
		router.lab.start(router.lab.a, [ process.execPath, '-e', `const net = require('net'); net.createServer(c => {
			const to = net.connect(80, '127.0.0.1'); for (const s of [ c, to ]) s.on('error', () => { c.destroy(); to.destroy(); }); c.pipe(to).pipe(c); }).listen(process.argv[1])`, this.socket ]);
		this.http = http.createServer((req, res) => this.serve(req, res).catch(e => {
			router.faults.push(req.url + ': ' + e.stack);
			res.destroy();
		}));
	}

	async listen() {
		while (!fs.existsSync(this.socket))
			await new Promise(resolve => setTimeout(resolve, 100));
		return new Promise(resolve => this.http.listen(0, '127.0.0.1', () => resolve(this.url = 'http://127.0.0.1:' + this.http.address().port)));
	}

	close() {
		this.http.closeAllConnections();
		return new Promise(resolve => this.http.close(resolve));
	}

	/* logs the browser in, as who may do everything or as who may only look */
	async enter(context) {
		const user = this.router.readonly ? 'look' : 'test';

		if (!this.sessions[user]) {
			const body = Buffer.from(`luci_username=${user}&luci_password=${user}`);
			const res = await this.forward({ method: 'POST', url: '/cgi-bin/luci/', headers: { host: '127.0.0.1', 'content-type': 'application/x-www-form-urlencoded' } }, body);

			this.sessions[user] = /sysauth_http=(\w+)/.exec(res.headers['set-cookie'])[1];
		}
		this.router.session = this.sessions[user];
		await context.addCookies([ { name: 'sysauth_http', value: this.router.session, domain: '127.0.0.1', path: '/cgi-bin/luci/' } ]);
	}

	forward(req, body) {
		return new Promise((resolve, reject) => {
			const out = http.request({ socketPath: this.socket, method: req.method, path: req.url, headers: { ...req.headers, connection: 'close', 'content-length': body.length } }, async res => {
				res.body = await collect(res);
				resolve(res);
			});

			out.on('error', reject);
			out.end(body);
		});
	}

	async serve(req, res) {
		const body = await collect(req), calls = req.url.startsWith('/ubus') && req.method == 'POST' ? [].concat(JSON.parse(body)) : null;
		let played = null;

		if (calls) {
			const names = calls.filter(m => m.method == 'call').map(m => m.params.slice(1, 3).join('.'));

			this.router.calls.push(...names);
			played = this.router.played && names.some(n => n.startsWith('luci.greseal.') && this.router.played[n.slice(13)]);
			if (this.delay)
				await new Promise(resolve => setTimeout(resolve, this.delay));
		}
		if (/admin\/uci\/confirm/.test(req.url))
			this.router.calls.push('confirm');

		if (played) /* the answer of a plugin that timed out */
			return res.end(JSON.stringify(Array.isArray(JSON.parse(body)) ? calls.map(m => ({ jsonrpc: '2.0', id: m.id, result: [ 7 ] })) : { jsonrpc: '2.0', id: calls[0].id, result: [ 7 ] }));

		const answer = await this.forward(req, body);

		if (answer.statusCode == 404)
			this.missing.push(req.url);
		if (calls)
			[].concat(JSON.parse(answer.body)).forEach((a, i) => this.judge(calls[i], a));
		delete answer.headers['transfer-encoding'];
		res.writeHead(answer.statusCode, { ...answer.headers, 'content-length': answer.body.length });
		res.end(answer.body);
	}

	/* LuCI also deletes options that were only typed, never stored. */
	judge(call, answer) {
		if (call.params?.slice(1, 3).join() == 'uci,delete' && answer.result?.[0] == 4)
			return;
		if (call.method == 'call' && (answer.error || answer.result[0] && !hardware.includes(call.params[1])))
			this.router.faults.push(call.params.slice(1, 3).join('.') + ' ' + JSON.stringify(call.params[3]) + ': ' + JSON.stringify(answer.error || answer.result));
	}
}

async function collect(stream) {
	const parts = [];

	for await (const b of stream)
		parts.push(b);
	return Buffer.concat(parts);
}

function run(cmd, ...args) { execFileSync(cmd, args, { stdio: [ 'ignore', 'pipe', 'inherit' ] }); }

module.exports = { RootLab, RealRouter, Relay };

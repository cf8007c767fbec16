'use strict';
/* Two routers in network namespaces, a wire between them, and greseal on both.
 * The one called here is the OpenWrt router: its tunnels stand in UCI files. */

const fs = require('fs');
const path = require('path');
const { execFileSync, spawn } = require('child_process');

const psk = '0dV3l1pZkqf7qWq2Jw1m0H7oYyPp9Qm3bC5tR8xN2sU=';
const here = '192.0.2.1';
const there = i => '192.0.2.' + (100 + i);

class Lab {
	constructor(greseal, dir) {
		Object.assign(this, { greseal, dir, children: [], spaces: [] });
		this.folder = path.join(dir, 'config');
		fs.mkdirSync(this.folder, { recursive: true });
		this.a = this.space('a');
		this.b = this.space('b');
		run('ip', '-n', this.a, 'link', 'add', 'wan', 'type', 'veth', 'peer', 'name', 'wan', 'netns', this.b);
		for (const ns of [ this.a, this.b ])
			run('ip', '-n', ns, 'link', 'set', 'wan', 'up');
		run('ip', '-n', this.a, 'address', 'add', here + '/24', 'dev', 'wan');
		for (let i = 0; i <= 40; i++)
			run('ip', '-n', this.b, 'address', 'add', there(i) + '/24', 'dev', 'wan');

		/* The binary by the plugin's name, as the package installs it. */
		this.link = path.join(dir, 'luci.greseal');
		fs.symlinkSync(path.resolve(greseal), this.link);
		this.socket = path.join(dir, 'a.sock');
		this.plugin = [ 'ip', 'netns', 'exec', this.a, 'env', 'UCI_CONFIG_DIR=' + this.folder, 'GRESEAL_SOCKET=' + this.socket, 'GRESEAL_CONFIG=' + path.join(dir, 'greseal.toml'), this.link ];
	}

	space(name) {
		const ns = 'gsui' + process.pid + name;

		run('ip', 'netns', 'add', ns);
		this.spaces.push(ns);
		run('ip', '-n', ns, 'link', 'set', 'lo', 'up');
		return ns;
	}

	put(name, text) { fs.writeFileSync(path.join(this.folder, name), text, { mode: 0o600 }); }

	start(ns, args, env) {
		const log = fs.openSync(path.join(this.dir, 'log.' + this.children.length), 'w');
		const child = spawn('ip', [ 'netns', 'exec', ns, ...args ], { stdio: [ 'ignore', log, log ], env: Object.assign({}, process.env, env) });

		this.children.push(child);
		return child;
	}

	/* the other side: a greseal with a TOML file */
	peer(toml, ns = this.b, name = 'b') {
		const file = path.join(this.dir, name + '.toml');

		fs.writeFileSync(file, '[daemon]\ndatapath = "userspace"\nstatus_socket = "' + path.join(this.dir, name + '.sock') + '"\n' + toml, { mode: 0o600 });
		return this.start(ns, [ this.greseal, 'run', '-c', file ]);
	}

	/* a third router, on a wire of its own: 198.51.100.2, and here 198.51.100.1 */
	third(toml) {
		const ns = this.space('c');

		run('ip', '-n', this.a, 'link', 'add', 'wan2', 'type', 'veth', 'peer', 'name', 'wan', 'netns', ns);
		for (const [ where, wire, address ] of [ [ this.a, 'wan2', '198.51.100.1/24' ], [ ns, 'wan', '198.51.100.2/24' ] ]) {
			run('ip', '-n', where, 'link', 'set', wire, 'up');
			run('ip', '-n', where, 'address', 'add', address, 'dev', wire);
		}
		return this.peer(toml, ns, 'c');
	}

	/* this side: the tunnels of the UCI files */
	router() {
		this.daemon = this.start(this.a, [ this.greseal, 'run', '-c', path.join(this.dir, 'none.toml') ], { UCI_CONFIG_DIR: this.folder });
		return this.daemon;
	}

	halt() { return this.stop(this.daemon); }

	in(ns, ...args) { return execFileSync('ip', [ 'netns', 'exec', ns, ...args ], { encoding: 'utf8' }); }

	async stop(child) {
		if (child.exitCode == null && child.signalCode == null) {
			const gone = new Promise(resolve => child.once('exit', resolve));

			child.kill('SIGTERM');
			await gone;
		}
	}

	async close() {
		for (const child of this.children)
			await this.stop(child);
		for (const ns of this.spaces)
			run('ip', 'netns', 'delete', ns);
	}
}

function run(cmd, ...args) { execFileSync(cmd, args, { stdio: [ 'ignore', 'pipe', 'inherit' ] }); }

Lab.there = there;

module.exports = { Lab, psk, here, there };

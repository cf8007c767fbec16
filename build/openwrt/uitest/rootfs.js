'use strict';
/* A whole router in place of the stand-ins: the userland of an OpenWrt root
 * folder, with its own ubusd, procd, rpcd, netifd, firewall, uhttpd and LuCI, and
 * greseal's packages in it. The folder is not written to. */

const fs = require('fs');
const http = require('http');
const path = require('path');
const { execFileSync, spawn } = require('child_process');

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
const logins = login('test', '$1$greseal$oNZcoGCryguTvbuAQ6u440', "\tlist write '*'\n") + login('look', '$1$greseal$DrXBfAzrDv4sTNWkbmr9F/', '');

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
		for (const from of [ 'root/greseal/.', 'luci/luci-app-greseal/root/.', 'luci/luci-proto-greseal/root/.' ])
			run('cp', '-a', path.join(packages, from), this.root);
		for (const p of [ 'app', 'proto' ])
			run('cp', '-a', path.join(packages, 'luci/luci-' + p + '-greseal/htdocs/.'), path.join(this.root, 'www'));
		run('cp', greseal, path.join(this.root, 'usr/sbin/greseal'));

		this.folder = path.join(this.root, 'etc/config');
		this.socket = '/var/run/greseal/status.sock';
		fs.appendFileSync(path.join(this.folder, 'rpcd'), logins);
	}

	/* Files that the router has of its own are left to it; its lines are the lab's. */
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
}

function run(cmd, ...args) { execFileSync(cmd, args, { stdio: [ 'ignore', 'pipe', 'inherit' ] }); }

module.exports = { RootLab };

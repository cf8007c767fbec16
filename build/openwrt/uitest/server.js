'use strict';
/* The web server of the test: static files from folders laid over each other,
 * a page for each view, and ubus. Whose LuCI the pages run on is the client's
 * business: the stand-in's, or a real one's (see client.js). */

const http = require('http');
const fs = require('fs');
const path = require('path');

const types = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.png': 'image/png', '.woff2': 'font/woff2' };

class Server {
	constructor(client, router) {
		Object.assign(this, { client, router, missing: [] });
		this.http = http.createServer((req, res) => this.serve(req, res).catch(e => {
			router.faults.push(e.stack);
			res.writeHead(500).end();
		}));
	}

	listen() {
		return new Promise(resolve => this.http.listen(0, '127.0.0.1', () => {
			this.url = 'http://127.0.0.1:' + this.http.address().port;
			resolve(this.url);
		}));
	}

	close() {
		this.http.closeAllConnections();
		return new Promise(resolve => this.http.close(resolve));
	}

	async serve(req, res) {
		const url = new URL(req.url, 'http://x');

		if (url.pathname.startsWith('/cgi-bin/luci/admin/ubus') || url.pathname.startsWith('/ubus'))
			return this.ubus(req, res);

		if (url.pathname.startsWith('/cgi-bin/luci/admin/translations'))
			return this.send(res, '.js', 'window.TR={};');

		if (url.pathname.startsWith('/cgi-bin/luci/admin/uci/') && req.method == 'POST') {
			await body(req);
			this.router.applied = url.pathname.replace(/.*\//, '');
			if (this.router.applied == 'apply_unchecked' || this.router.applied == 'apply_rollback')
				this.router.uci_apply();
			return this.send(res, '.json', '{"token":"t"}');
		}

		if (url.pathname.startsWith('/cgi-bin/luci/')) {
			res.writeHead(200, { 'content-type': 'text/html; charset=UTF-8' });
			return res.end(this.client.page(url.pathname.slice('/cgi-bin/luci/'.length), this.router));
		}

		const file = this.client.find(url.pathname);

		if (file)
			return this.send(res, path.extname(file), fs.readFileSync(file));

		this.missing.push(url.pathname);
		res.writeHead(404).end();
	}

	send(res, ext, data) {
		res.writeHead(200, { 'content-type': types[ext] || 'application/json', 'cache-control': 'no-store' });
		res.end(data);
	}

	async ubus(req, res) {
		const msg = JSON.parse(await body(req));

		/* A late answer, as uhttpd gives one under load. */
		if (this.delay)
			await new Promise(resolve => setTimeout(resolve, this.delay));

		const reply = Array.isArray(msg) ? await Promise.all(msg.map(m => this.router.answer(m))) : await this.router.answer(msg);

		this.send(res, '.json', JSON.stringify(reply));
	}
}

async function body(req) {
	let text = '';

	for await (const b of req)
		text += b;
	return text;
}

module.exports = { Server };

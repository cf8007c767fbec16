'use strict';
/* The two clients that the views run on: the stand-in of this folder, and a real
 * LuCI from a checkout of its sources. */

const fs = require('fs');
const path = require('path');

const packages = path.join(__dirname, '..', 'luci');
const ours = [ 'luci-app-greseal', 'luci-proto-greseal' ].map(p => path.join(packages, p, 'htdocs'));

/* finds a file of /luci-static in the first of these folders that has it */
const finder = folders => name => {
	if (!name.startsWith('/luci-static/') || name.includes('..'))
		return null;

	return folders.map(f => path.join(f, name)).find(f => fs.existsSync(f) && fs.statSync(f).isFile());
};

const env = (page, router, media) => JSON.stringify({
	media, resource: '/luci-static/resources', scriptname: '/cgi-bin/luci', pathinfo: '/' + page, documentroot: '/www',
	requestpath: page.split('/'), dispatchpath: page.split('/'), pollinterval: 1, ubuspath: '/ubus/', sessionid: '5e55104', token: 't',
	nodespec: { satisfied: true, readonly: router.readonly, action: { type: 'view', path: views[page] } },
	apply_rollback: 90, apply_holdoff: 1, apply_timeout: 5, apply_display: 1.5
});

/* The view of a page, by the menu of the package and LuCI's own. */
const views = { 'admin/network/network': 'network/interfaces' };

for (const [ page, node ] of Object.entries(JSON.parse(fs.readFileSync(path.join(packages, 'luci-app-greseal/root/usr/share/luci/menu.d/luci-app-greseal.json')))))
	views[page] = node.action.path;

const boot = (page, router, media) =>
	`<script src="/luci-static/resources/luci.js"></script><script>L = new LuCI(${env(page, router, media)});</script>`;
const view = page =>
	`<div id="view"><div class="spinning">Loading view…</div><script>L.require('ui').then(ui => ui.instantiateView('${views[page]}'));</script></div>`;
const head = media => `<meta charset="utf-8"><title>LuCI</title><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><link rel="stylesheet" href="${media}/cascade.css">`;

const standIn = {
	name: 'stand-in',
	themes: [ 'stand-in' ],
	find: finder([ ...ours, path.join(__dirname, 'luci') ]),
	page(page, router) {
		const media = '/luci-static/stand-in';

		return `<!DOCTYPE html><html lang="en"><head>${head(media)}</head><body data-page="${page.replace(/\//g, '-')}">
${boot(page, router, media)}<div id="maincontent" class="container"><div id="tabmenu"></div>${view(page)}</div><span id="indicators"></span></body></html>`;
	}
};

/* real is LuCI from a checkout, with one of its themes; the frame of the page is
 * as small as the theme's style sheet allows. */
function real(checkout, theme) {
	const themes = { bootstrap: 'luci-theme-bootstrap', material: 'luci-theme-material', openwrt2020: 'luci-theme-openwrt-2020', 'openwrt.org': 'luci-theme-openwrt' };
	const modules = [ 'modules/luci-base', 'modules/luci-mod-network', 'modules/luci-mod-status', 'themes/' + themes[theme] ].map(m => path.join(checkout, m, 'htdocs'));
	const media = '/luci-static/' + theme;
	const frame = {
		bootstrap: v => `<header><a class="brand" href="/">OpenWrt</a><ul class="nav" id="topmenu"></ul><div id="indicators" class="pull-right"></div></header><div id="maincontent" class="container"><div id="tabmenu"></div>${v}</div>`,
		material: v => `<header><div class="fill"><div class="container"><a class="brand" href="#">OpenWrt</a><span class="status" id="indicators"></span></div></div></header><div class="main"><div class="main-right"><div id="maincontent"><div class="container"><div id="tabmenu"></div>${v}</div></div></div></div>`,
		openwrt2020: v => `<div id="menubar"><span class="hostname"><a href="/">OpenWrt</a></span><span id="indicators"></span></div><div id="maincontainer"><div id="mainmenu"></div><div id="maincontent"><div id="tabmenu"></div>${v}</div></div>`,
		'openwrt.org': v => `<div id="header"><h1>OpenWrt</h1><span id="indicators"></span></div><div id="maincontent"><div id="tabmenu"></div>${v}</div>`
	}[theme];

	return {
		name: theme,
		find: finder([ ...ours, ...modules ]),
		page(page, router) {
			return `<!DOCTYPE html><html lang="en"><head>${head(media)}${theme == 'bootstrap' ? `
<link rel="stylesheet" media="only screen and (max-device-width: 854px)" href="${media}/mobile.css">
<script>document.documentElement.setAttribute('data-darkmode', matchMedia('(prefers-color-scheme: dark)').matches)</script>` : ''}
<script src="/cgi-bin/luci/admin/translations/en"></script><script src="/luci-static/resources/cbi.js"></script></head>
<body class="lang_en logged-in" data-page="${page.replace(/\//g, '-')}">${boot(page, router, media)}${frame(view(page))}</body></html>`;
		}
	};
}

module.exports = { standIn, real, packages };

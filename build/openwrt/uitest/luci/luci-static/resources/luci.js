'use strict';
/* A stand-in for LuCI's client, written for the test of the pages: it has what
 * they use, by the rules of the real one, and is strict where that would fail or
 * do something else than was meant. What it finds wrong goes to console.error,
 * which fails the test.
 *
 * Here: the loader of modules, the document, strings, polling, ubus, UCI. */

(function() {

const fault = text => { throw new TypeError(text); };

/* No module has other members than these: a wrong name is found at once. */
const strict = (name, object) => new Proxy(object, {
	get(o, k) {
		return (k in o || typeof(k) == 'symbol' || k == 'then' || k == 'toJSON') ? o[k] : fault(name + ' has no ' + String(k));
	}
});

/* %-sequences of String.format, those that the pages may use */
const suffixes = [ '', 'K', 'M', 'G', 'T', 'P' ];

Object.defineProperty(String.prototype, 'format', { value: function(...args) {
	let n = 0;
	const text = this.replace(/%(%|(-?[\d.]*)([sdmfxhq]))/g, (all, esc, width, type) => {
		if (esc == '%')
			return '%';

		if (n >= args.length)
			fault('too few arguments for "' + this + '"');

		const v = args[n++];

		switch (type) {
		case 's':
			return v == null ? '' : String(v);
		case 'd':
			return isNaN(v) ? fault('"' + v + '" is no number for %d') : String(Math.floor(+v));
		case 'f':
			return (+v).toFixed(+(width.split('.')[1] || 6));
		case 'm': {
			const [ base, digits ] = width.split('.').map(Number);
			let x = +v, i = 0;

			for (; x > base && i < 5; i++)
				x /= base;
			return (i ? x.toFixed(digits || 0) : String(x)) + ' ' + suffixes[i] + (base == 1024 && i ? 'i' : '');
		}
		default:
			return fault('%' + type + ' is not known here');
		}
	});

	if (n < args.length)
		fault('too many arguments for "' + this + '"');
	return text;
} });

window._ = text => typeof(text) == 'string' ? text : fault('only strings are translated');

/* classes as LuCI has them */
const baseclass = {
	extend(members) {
		const parent = this === baseclass ? Object : this;
		const cls = function(...args) {
			if (this.__init__)
				this.__init__(...args);
		};

		cls.prototype = Object.create(parent.prototype || {}, { constructor: { value: cls } });
		Object.assign(cls.prototype, members);
		cls.prototype.super = function(name, args) {
			return parent.prototype[name].apply(this, args);
		};
		cls.extend = baseclass.extend;
		cls.instantiate = args => new cls(...args);
		cls.isSubclass = other => typeof(other) == 'function' && (other === cls || other.prototype instanceof cls);
		return cls;
	}
};

/* ---- document */

const elem = e => e instanceof Node;
const instances = new WeakMap();

const dom = {
	elem,

	append(node, children) {
		if (Array.isArray(children))
			children.forEach(c => {
				if (elem(c))
					node.appendChild(c);
				else if (Array.isArray(c) || typeof(c) == 'object' && c !== null)
					fault('a child that is no node: ' + JSON.stringify(c).slice(0, 100));
				else if (c != null)
					node.appendChild(document.createTextNode(String(c)));
			});
		else if (typeof(children) == 'function')
			dom.append(node, children(node));
		else if (elem(children))
			node.appendChild(children);
		else if (children != null) {
			/* The real one takes a bare string as markup; so does this, for what is
			 * written in the page itself. */
			node.innerHTML = String(children);
			if (node.querySelector('script, iframe, img'))
				fault('markup from a bare string: ' + children);
		}
		return node.lastChild;
	},

	content(node, children) {
		if (!elem(node))
			return null;

		while (node.firstChild)
			node.removeChild(node.firstChild);
		return dom.append(node, children);
	},

	attr(node, attrs) {
		for (const k in attrs || {}) {
			const v = attrs[k];

			if (v == null)
				continue;
			if (typeof(v) == 'function')
				node.addEventListener(k, v);
			else
				node.setAttribute(k, typeof(v) == 'object' ? JSON.stringify(v) : v);
		}
	},

	bindClassInstance(node, inst) { instances.set(node, inst); },

	findClassInstance(node) {
		for (; node; node = node.parentNode)
			if (instances.has(node))
				return instances.get(node);
		return null;
	}
};

window.E = function(tag, attrs, children) {
	if (!(attrs instanceof Object) || Array.isArray(attrs) || elem(attrs))
		children = attrs, attrs = null;

	const node = Array.isArray(tag) ? document.createDocumentFragment()
		: elem(tag) ? tag
		: tag[0] == '<' ? fault('markup instead of a tag: ' + tag)
		: document.createElement(tag);

	if (Array.isArray(tag))
		tag.forEach(t => node.appendChild(t));

	if (attrs)
		dom.attr(node, attrs);
	dom.append(node, children);
	return node;
};

/* ---- polling: a function is called again only when its promise is done */

const poll = {
	queue: [],
	tick: 0,

	add(fn, interval) {
		if (interval == null || interval <= 0)
			interval = L.env.pollinterval;
		if (typeof(fn) != 'function' || isNaN(interval))
			fault('poll.add wants a function');
		if (poll.queue.some(e => e.fn === fn))
			return false;

		poll.queue.push({ fn, interval, ready: true });
		if (!poll.timer)
			poll.start();
		return true;
	},

	remove(fn) {
		const n = poll.queue.length;

		poll.queue = poll.queue.filter(e => e.fn !== fn);
		return poll.queue.length != n;
	},

	start() {
		poll.timer = window.setInterval(poll.step, 1000);
		poll.step();
	},

	stop() {
		window.clearInterval(poll.timer);
		poll.timer = null;
	},

	step() {
		for (const e of poll.queue)
			if (poll.tick % e.interval == 0 && e.ready) {
				e.ready = false;
				Promise.resolve(e.fn()).catch(L.error).finally(() => e.ready = true);
			}
		poll.tick++;
	}
};

/* ---- ubus */

let serial = 1;

const same = (a, b) => Object.prototype.toString.call(a) == Object.prototype.toString.call(b);

async function request(object, method, args) {
	const ctl = new AbortController(), timer = setTimeout(() => ctl.abort(), 20000);

	try {
		const res = await fetch(L.url('admin/ubus') + '/' + object + '.' + method, {
			method: 'POST', signal: ctl.signal, headers: { 'content-type': 'application/json' },
			body: JSON.stringify({ jsonrpc: '2.0', id: serial++, method: 'call', params: [ L.env.sessionid, object, method, args ] })
		});

		if (!res.ok)
			throw new Error('RPC call to ' + object + '/' + method + ' failed with HTTP error ' + res.status);
		return await res.json();
	}
	finally { clearTimeout(timer); }
}

const rpc = {
	declare(o) {
		for (const k in o)
			if (![ 'object', 'method', 'params', 'expect', 'filter', 'reject', 'nobatch' ].includes(k))
				fault('rpc.declare knows no ' + k);

		return async function(...values) {
			const params = o.params || [], args = {};

			if (values.length > params.length)
				fault(o.method + ' takes ' + params.length + ' arguments');
			params.forEach((p, i) => args[p] = values[i]);

			const msg = await request(o.object, o.method, args);

			if (msg.error)
				throw new Error('RPC call to ' + o.object + '/' + o.method + ' failed with error ' + msg.error.code + ': ' + msg.error.message);

			const [ status, value ] = msg.result;

			if (o.reject && status != 0)
				throw new Error('RPC call to ' + o.object + '/' + o.method + ' failed with ubus code ' + status);

			let ret = msg.result.length > 1 ? value : status;

			for (const k in o.expect || {}) {
				if (ret != null && k != '')
					ret = ret[k];
				if (ret == null || !same(ret, o.expect[k]))
					ret = o.expect[k];
			}
			return ret;
		};
	}
};

/* ---- UCI: what was loaded, and what a form changed since */

const uciGet = rpc.declare({ object: 'uci', method: 'get', params: [ 'config' ], expect: { values: {} }, reject: true });
const uciSet = rpc.declare({ object: 'uci', method: 'set', params: [ 'config', 'section', 'values' ], reject: true });
const uciAdd = rpc.declare({ object: 'uci', method: 'add', params: [ 'config', 'type', 'name', 'values' ], expect: { section: '' }, reject: true });
const uciDelete = rpc.declare({ object: 'uci', method: 'delete', params: [ 'config', 'section', 'options' ], reject: true });
const uciApply = rpc.declare({ object: 'uci', method: 'apply', params: [ 'rollback' ], reject: true });

const uci = {
	loaded: {},
	changed: [],

	async load(packages) {
		for (const p of [].concat(packages))
			uci.loaded[p] ??= await uciGet(p);
	},

	unload(packages) {
		for (const p of [].concat(packages))
			delete uci.loaded[p];
	},

	get(config, sid, option) {
		const s = (uci.loaded[config] || {})[sid];

		return option == null ? (s ? Object.assign({}, s) : null) : s ? s[option] ?? null : null;
	},

	sections(config, type) {
		return Object.values(uci.loaded[config] || {}).filter(s => !type || s['.type'] == type);
	},

	set(config, sid, option, value) {
		const s = (uci.loaded[config] || {})[sid] || fault('no section ' + sid);

		if (value == null || value === '')
			return uci.unset(config, sid, option);
		s[option] = value;
		uci.changed.push(() => uciSet(config, sid, { [option]: value }));
	},

	unset(config, sid, option) {
		const s = (uci.loaded[config] || {})[sid];

		if (!s || s[option] == null)
			return;
		delete s[option];
		uci.changed.push(() => uciDelete(config, sid, [ option ]));
	},

	add(config, type, name) {
		uci.loaded[config][name] = { '.type': type, '.name': name, '.anonymous': false };
		uci.changed.push(() => uciAdd(config, type, name, {}));
		return name;
	},

	remove(config, sid) {
		delete uci.loaded[config][sid];
		uci.changed.push(() => uciDelete(config, sid));
	},

	async save() {
		const todo = uci.changed;

		uci.changed = [];
		for (const fn of todo)
			await fn();
		uci.unload(Object.keys(uci.loaded));
	},

	apply: () => uciApply(false)
};

/* ---- modules */

const view = baseclass.extend({
	__init__() {
		const box = document.getElementById('view');

		return Promise.resolve(this.load()).then(data => this.render(data)).then(nodes => {
			dom.content(box, nodes);

			for (const handler of [ 'handleSave', 'handleSaveApply', 'handleReset' ])
				if (this[handler] !== null)
					fault('a page without a form says ' + handler + ': null');
		}).catch(L.error);
	},
	load() {},
	render() {},
	handleSave() {}, handleSaveApply() {}, handleReset() {}
});

const modules = {
	baseclass: Promise.resolve(baseclass), dom: Promise.resolve(strict('dom', dom)), poll: Promise.resolve(strict('poll', poll)),
	rpc: Promise.resolve(strict('rpc', rpc)), uci: Promise.resolve(strict('uci', uci)), view: Promise.resolve(view)
};

/* A module is a script whose first lines are strings: 'use strict', then what it
 * requires. What it returns is a class; one instance of it is the module. */
async function load(name) {
	const url = '/luci-static/resources/' + name.replace(/\./g, '/') + '.js';
	const res = await fetch(url);

	if (!res.ok)
		throw Object.assign(new Error('HTTP error ' + res.status + ' while loading ' + url), { name: 'NetworkError' });

	const source = await res.text(), head = /^\s*'use strict';\s*\n((?:'require [^'\n]+';\s*\n)*)/.exec(source) || fault(url + " does not begin with 'use strict'");
	const names = [], values = [];

	for (const m of head[1].matchAll(/'require ([\w.]+)(?: as (\w+))?';/g)) {
		names.push(m[2] || m[1].replace(/[^a-zA-Z0-9]/g, '_'));
		values.push(await L.require(m[1]));
	}

	for (const m of source.slice(head[0].length).matchAll(/^'require /gm))
		fault(url + ' requires behind its first lines' + m);

	const made = new Function('window', 'document', 'L', ...names, source + '\n//# sourceURL=' + url)(window, document, window.L, ...values);

	if (typeof(made) != 'function' || !made.extend)
		fault(url + ' returns no class');

	return name.startsWith('view.') ? made : strict(name, new made());
}

window.LuCI = function(env) {
	this.env = strict('L.env', env);
	return window.L = strict('L', this);
};

window.LuCI.prototype = {
	require(name) { return modules[name] ??= load(name); },
	resolveDefault(value, def) { return Promise.resolve(value).catch(() => def); },
	toArray(v) { return v == null ? [] : Array.isArray(v) ? v : typeof(v) == 'object' ? [ v ] : String(v).trim() == '' ? [] : String(v).trim().split(/\s+/); },
	isObject: v => v != null && typeof(v) == 'object',
	bind: (fn, self, ...args) => fn.bind(self, ...args),
	url: (...parts) => '/cgi-bin/luci/' + parts.join('/'),
	resource: name => '/luci-static/resources/' + name,
	hasViewPermission() { return this.env.nodespec.satisfied ? !this.env.nodespec.readonly : null; },
	hasSystemFeature: () => false,
	error(e) { console.error(e.stack || e); }
};

window.addEventListener('unhandledrejection', ev => console.error('a promise failed unseen: ' + (ev.reason && ev.reason.stack || ev.reason)));

})();

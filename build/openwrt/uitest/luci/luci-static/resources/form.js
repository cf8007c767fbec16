'use strict';
'require baseclass';
'require dom';
'require uci';
'require ui';

/* The stand-in's forms: one map of one section, with tabs, as the dialog of an
 * interface has it. Dependencies, defaults, reading and writing go by LuCI's
 * rules. */

const equal = (a, b) => Array.isArray(a) && Array.isArray(b) ? a.length == b.length && a.every((v, i) => v == b[i]) : (a ?? '') == (b ?? '');

const AbstractValue = baseclass.extend({
	__init__(map, section, option, title, description) {
		Object.assign(this, { map, section, option, title, description, deps: [], rmempty: true, optional: false, default: null, data: {} });
	},

	depends(field, value) { this.deps.push(typeof(field) == 'string' ? { [field]: value } : field); },
	cbid(sid) { return 'cbid.' + this.map.config + '.' + sid + '.' + this.option; },
	load(sid) { return uci.get(this.map.config, sid, this.ucioption || this.option); },

	cfgvalue(sid, value) {
		if (arguments.length == 2)
			this.data[sid] = value;
		return this.data[sid];
	},

	field(sid) { return this.map.root.querySelector('[data-field="' + this.cbid(sid) + '"]'); },

	getUIElement(sid) {
		const node = this.map.root.querySelector('[id="' + this.cbid(sid) + '"]');
		const inst = node ? dom.findClassInstance(node) : null;

		return inst instanceof ui.AbstractElement ? inst : null;
	},

	formvalue(sid) { const e = this.getUIElement(sid); return e ? e.getValue() : null; },
	isActive(sid) { const f = this.field(sid); return f != null && !f.classList.contains('hidden'); },
	isValid(sid) { const e = this.getUIElement(sid); return e ? e.isValid() : true; },
	triggerValidation(sid) { const e = this.getUIElement(sid); return e ? e.triggerValidation() : true; },
	validate() { return true; },

	satisfied(sid) {
		return !this.deps.length || this.deps.some(dep => Object.keys(dep).every(name => {
			const o = this.section.getOption(name) || (() => { throw new TypeError(this.option + ' depends on ' + name + ', which is not there'); })();
			const v = o.isActive(sid) ? o.formvalue(sid) : null;

			return dep[name] instanceof RegExp ? v != null && dep[name].test(v) : equal(v, dep[name]);
		}));
	},

	parse(sid) {
		if (!this.isActive(sid))
			return this.retain ? null : this.remove(sid);

		if (!this.isValid(sid))
			return Promise.reject(new TypeError('Option "' + this.title + '" contains an invalid input value. ' + this.getUIElement(sid).getValidationError()));

		const was = this.cfgvalue(sid), is = this.formvalue(sid);

		if (is == null || is == '') {
			if (this.rmempty || this.optional)
				return this.remove(sid);
			return Promise.reject(new TypeError('Option "' + this.title + '" must not be empty.'));
		}
		if (!equal(was, is))
			return this.write(sid, is);
	},

	write(sid, value) { uci.set(this.map.config, sid, this.ucioption || this.option, value); },
	remove(sid) { uci.unset(this.map.config, sid, this.ucioption || this.option); },

	render(sid) {
		const field = E('div', { 'class': 'cbi-value' + (this.deps.length ? ' hidden' : ''), 'data-field': this.cbid(sid), 'data-name': this.option }, [
			E('label', { 'class': 'cbi-value-title', 'for': 'widget.' + this.cbid(sid) }, [ this.title ]),
			E('div', { 'class': 'cbi-value-field' }, [
				this.renderWidget(sid, 0, this.cfgvalue(sid)),
				this.description ? E('div', { 'class': 'cbi-value-description' }, this.description) : ''
			])
		]);

		let was = this.formvalue ? JSON.stringify(this.cfgvalue(sid) ?? '') : null;

		field.addEventListener('widget-change', ev => {
			this.map.checkDepends();
			if (this.onchange && JSON.stringify(this.formvalue(sid)) != was) {
				was = JSON.stringify(this.formvalue(sid));
				this.onchange(ev, sid, this.formvalue(sid));
			}
		});
		return field;
	},

	widget(sid, more) {
		return Object.assign({ id: this.cbid(sid), placeholder: this.placeholder, password: this.password, disabled: this.readonly ?? this.map.readonly,
			optional: this.optional || this.rmempty, validate: this.validate.bind(this, sid) }, more);
	}
});

const Value = AbstractValue.extend({
	value(key, title) { (this.keylist ??= []).push(String(key)); (this.choices ??= {})[key] = title ?? key; },
	/* Of a few values and any other: a field that proposes them, where LuCI has a list. */
	renderWidget(sid, i, value) {
		const node = new ui.Textfield(value ?? this.default, this.widget(sid)).render();

		if (this.keylist) {
			const list = 'list.' + this.cbid(sid);

			node.querySelector('input').setAttribute('list', list);
			node.appendChild(E('datalist', { id: list }, this.keylist.map(k => E('option', { value: k }, [ this.choices[k] ]))));
		}
		return node;
	}
});

const DynamicList = Value.extend({
	renderWidget(sid, i, value) { return new ui.DynamicList(L.toArray(value ?? this.default), null, this.widget(sid)).render(); }
});

const ListValue = Value.extend({
	renderWidget(sid, i, value) { return new ui.Select(value ?? this.default ?? '', this.choices, this.widget(sid, { sort: this.keylist })).render(); }
});

const Flag = Value.extend({
	enabled: '1', disabled: '0',
	renderWidget(sid, i, value) { return new ui.Checkbox(value ?? this.default ?? '0', this.widget(sid)).render(); },
	parse(sid) {
		if (!this.isActive(sid))
			return this.retain ? null : this.remove(sid);

		const is = this.formvalue(sid);

		if (is == (this.default ?? this.disabled) && (this.optional || this.rmempty))
			return this.remove(sid);
		if (!equal(this.cfgvalue(sid), is))
			return this.write(sid, is);
	}
});

const DummyValue = Value.extend({
	renderWidget(sid, i, value) { return E('output', {}, [ value ?? this.default ]); },
	write() {}, remove() {}
});

const Button = Value.extend({
	renderWidget(sid) {
		return E('output', {}, [ E('button', {
			'class': 'cbi-button cbi-button-' + (this.inputstyle || 'button'), disabled: (this.readonly ?? this.map.readonly) || null,
			click: ui.createHandlerFn(this, (sid, ev) => this.onclick(ev, sid), sid)
		}, [ this.inputtitle || this.title ]) ]);
	}
});

const NamedSection = baseclass.extend({
	__init__(map, section, type) { Object.assign(this, { map, section, type, children: [] }); },

	tab(name, title, description) {
		if (this.tabs && this.tabs[name])
			throw 'Tab already declared';
		(this.tabs ??= {})[name] = { name, title, description, children: [] };
	},

	taboption(tab, cls, ...args) {
		if (!this.tabs || !this.tabs[tab])
			throw new ReferenceError('no tab ' + tab);
		if (!AbstractValue.isSubclass(cls))
			throw new TypeError('Class must be a descendant of CBIAbstractValue');

		const o = new cls(this.map, this, ...args);

		o.tab = tab;
		this.children.push(o);
		this.tabs[tab].children.push(o);
		return o;
	},

	getOption(name) { return this.children.filter(o => o.option == name)[0] ?? null; },
	getUIElement(sid, name) { const o = this.getOption(name); return o ? o.getUIElement(sid) : null; },
	formvalue(sid, name) { const o = this.getOption(name); return o ? o.formvalue(sid) : null; },

	/* takes an option's place, as LuCI's page does with those every protocol has */
	replace(tab, cls, name, ...args) {
		for (const t of Object.values(this.tabs))
			t.children = t.children.filter(o => o.option != name);
		this.children = this.children.filter(o => o.option != name);
		return this.taboption(tab, cls, name, ...args);
	},

	render() {
		return E('div', { 'class': 'cbi-section' }, [ E('div', {}, Object.values(this.tabs).filter(t => t.children.length).map(t =>
			E('div', { 'data-tab': t.name, 'data-tab-title': t.title }, t.children.map(o => o.render(this.section))))) ]);
	}
});

const Map = baseclass.extend({
	__init__(config) { Object.assign(this, { config, children: [] }); },

	section(cls, ...args) {
		const s = new cls(this, ...args);

		this.children.push(s);
		return s;
	},

	async load() {
		await uci.load(this.config);
		for (const s of this.children)
			for (const o of s.children)
				o.cfgvalue(s.section, await o.load(s.section));
	},

	async render() {
		await this.load();
		this.root = E('div', { 'class': 'cbi-map', id: 'cbi-' + this.config });
		dom.bindClassInstance(this.root, this);
		for (const s of this.children) {
			const node = s.render();

			this.root.appendChild(node);
			ui.tabs.initTabGroup(node.firstChild.childNodes);
		}
		this.checkDepends();
		return this.root;
	},

	checkDepends() {
		for (let more = true, n = 0; more && n < 10; n++) {
			more = false;
			for (const s of this.children)
				for (const o of s.children) {
					const active = o.satisfied(s.section), field = o.field(s.section);

					if (field && field.classList.contains('hidden') == active) {
						field.classList.toggle('hidden', !active);
						more = true;
					}
				}
		}
	},

	async save(cb) {
		this.checkDepends();
		await Promise.all(this.children.flatMap(s => s.children.map(o => o.parse(s.section))));
		if (cb)
			await cb();
		await uci.save();
		await this.load();
	}
});

return baseclass.extend({ Map, NamedSection, AbstractValue, Value, DynamicList, ListValue, Flag, DummyValue, Button });

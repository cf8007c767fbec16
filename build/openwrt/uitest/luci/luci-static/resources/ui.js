'use strict';
'require baseclass';
'require dom';

/* The stand-in's widgets, dialogs and tabs. */

const fire = (node, type, detail) => node.dispatchEvent(new CustomEvent(type, { bubbles: true, detail }));

/* A validator of a field: kept in line with what LuCI does, down to the events. */
function validator(field, optional, fn) {
	return () => {
		const value = field.value ?? '';
		const verdict = value == '' ? (optional || 'Expecting: non-empty value') : fn(value);

		field.classList.toggle('cbi-input-invalid', verdict !== true);

		if (verdict !== true) {
			field.setAttribute('data-tooltip', verdict);
			fire(field, 'validation-failure', { message: verdict });
		}
		else {
			field.removeAttribute('data-tooltip');
			fire(field, 'validation-success');
		}
	};
}

const AbstractElement = baseclass.extend({
	bind(node, field, optional, validate, changes) {
		this.node = node;
		dom.bindClassInstance(node, this);
		changes.forEach(ev => field.addEventListener(ev, () => fire(node, 'widget-change')));

		if (!validate)
			return node;

		this.check = validator(field, optional, validate);
		node.addEventListener('validation-success', () => this.wrong = '');
		node.addEventListener('validation-failure', ev => this.wrong = ev.detail.message);
		[ 'keyup', 'blur' ].forEach(ev => field.addEventListener(ev, this.check));
		window.setTimeout(this.check, 0);
		return node;
	},
	isValid() { return !this.wrong; },
	getValidationError() { return this.wrong || ''; },
	triggerValidation() { if (this.check) this.check(); }
});

const Textfield = AbstractElement.extend({
	__init__(value, o) { this.value = value; this.options = o; },
	render() {
		const o = this.options;
		const input = E('input', { id: 'widget.' + o.id, type: o.password ? 'password' : 'text', 'class': 'cbi-input-text', placeholder: o.placeholder, disabled: o.disabled ? '' : null });

		input.value = this.value ?? '';
		return this.bind(E('div', { id: o.id }, [ input ]), input, o.optional, o.validate, [ 'change' ]);
	},
	getValue() { return this.node.querySelector('input').value; },
	setValue(v) { this.node.querySelector('input').value = v; }
});

const Checkbox = AbstractElement.extend({
	__init__(value, o) { this.value = value; this.options = o; },
	render() {
		const input = E('input', { id: 'widget.' + this.options.id, type: 'checkbox', disabled: this.options.disabled ? '' : null });

		input.checked = this.value == '1';
		return this.bind(E('div', { id: this.options.id, 'class': 'cbi-checkbox' }, [ input ]), input, true, null, [ 'change' ]);
	},
	getValue() { return this.node.querySelector('input').checked ? '1' : '0'; }
});

const Select = AbstractElement.extend({
	__init__(value, choices, o) { this.value = value; this.choices = choices; this.options = o || {}; },
	render() {
		const select = E('select', { id: this.options.id ? 'widget.' + this.options.id : null, 'class': 'cbi-input-select', disabled: this.options.disabled ? '' : null },
			(this.options.sort || Object.keys(this.choices)).map(k => E('option', { value: k, selected: k == this.value ? '' : null }, [ this.choices[k] ])));

		return this.bind(E('div', { id: this.options.id }, [ select ]), select, true, null, [ 'change' ]);
	},
	getValue() { return this.node.querySelector('select').value; },
	setValue(v) { this.node.querySelector('select').value = v; }
});

/* Items, and a field for the next. An item is in the list only when it was added. */
const DynamicList = AbstractElement.extend({
	__init__(values, choices, o) { this.values = values; this.options = o; },
	render() {
		const o = this.options;
		const input = E('input', { id: 'widget.' + o.id, type: 'text', 'class': 'cbi-input-text', placeholder: o.placeholder, disabled: o.disabled ? '' : null });
		const add = E('div', { 'class': 'add-item' }, [ input, E('button', { 'class': 'btn cbi-button cbi-button-add', click: () => {
			if (input.value == '' || input.classList.contains('cbi-input-invalid'))
				return;
			this.add(input.value);
			input.value = '';
			fire(this.node, 'widget-change');
		} }, [ '+' ]) ]);

		this.bind(E('div', { id: o.id, 'class': 'cbi-dynlist' }, [ add ]), input, true, o.validate, []);
		this.values.forEach(v => this.add(v));
		return this.node;
	},
	add(v) {
		this.node.insertBefore(E('div', { 'class': 'item' }, [
			E('span', {}, [ v ]), E('input', { type: 'hidden', value: v }),
			E('button', { 'class': 'btn cbi-button cbi-button-remove', click: ev => { ev.currentTarget.parentNode.remove(); fire(this.node, 'widget-change'); } }, [ '×' ])
		]), this.node.lastChild);
	},
	setValue(list) { this.node.querySelectorAll('.item').forEach(i => i.remove()); list.forEach(v => this.add(v)); },
	getValue() { return [ ...this.node.querySelectorAll('.item > input') ].map(i => i.value); }
});

const tabs = {
	initTabGroup(panes) {
		const list = [ ...panes ], group = list[0].parentNode;

		if (!group || !group.parentNode)
			throw new TypeError('a group of tabs needs a parent before it is made');

		const show = name => {
			list.forEach(p => p.style.display = p.getAttribute('data-tab') == name ? '' : 'none');
			menu.childNodes.forEach(li => li.className = li.getAttribute('data-tab') == name ? 'cbi-tab' : 'cbi-tab-disabled');
		};
		const menu = E('ul', { 'class': 'cbi-tabmenu' }, list.map(p => E('li', { 'data-tab': p.getAttribute('data-tab') }, [
			E('a', { href: '#', click: ev => { show(p.getAttribute('data-tab')); ev.preventDefault(); } }, [ p.getAttribute('data-tab-title') ])
		])));

		group.parentNode.insertBefore(menu, group);
		show((list.find(p => p.getAttribute('data-tab-active') == 'true') || list[0]).getAttribute('data-tab'));
	}
};

const UI = baseclass.extend({
	AbstractElement, Textfield, Checkbox, Select, DynamicList, tabs,

	showModal(title, children, ...classes) {
		this.hideModal();

		const modal = E('div', { 'class': [ 'modal', ...classes ].join(' '), role: 'dialog', 'aria-modal': 'true' });

		if (title != null)
			dom.content(modal, [ E('h4', {}, [ title ]) ]);

		const box = E('div');

		dom.append(box, children);
		while (box.firstChild)
			modal.appendChild(box.firstChild);

		document.body.classList.add('modal-overlay-active');
		document.body.appendChild(E('div', { id: 'modal_overlay' }, [ modal ]));
		return modal;
	},

	hideModal() {
		const old = document.getElementById('modal_overlay');

		if (old)
			old.remove();
		document.body.classList.remove('modal-overlay-active');
	},

	addNotification(title, children, ...classes) {
		const box = E('div', { 'class': [ 'alert-message', 'fade-in', ...classes ].join(' ') }, [ title ? E('h4', {}, [ title ]) : '' ]);

		if (!Array.isArray(children) && !dom.elem(children))
			throw new TypeError('a notification of bare text would be markup');
		dom.append(box, children);
		document.getElementById('maincontent').prepend(box);
		return box;
	},

	/* While the promise of a handler runs, its button cannot be clicked. */
	createHandlerFn(self, fn, ...args) {
		const handler = typeof(fn) == 'string' ? self[fn] : fn;

		if (typeof(handler) != 'function')
			throw new TypeError('no handler ' + fn);

		return ev => {
			const button = ev.currentTarget;

			if (button.disabled)
				return;
			button.classList.add('spinning');
			button.disabled = true;

			return Promise.resolve(handler.call(self, ...args, ev)).catch(e => {
				this.addNotification('Error', [ E('p', {}, [ e.message ]) ], 'danger');
				L.error(e);
			}).finally(() => {
				button.classList.remove('spinning');
				button.disabled = false;
			});
		};
	},

	instantiateView(path) {
		return L.require('view.' + path.replace(/\//g, '.')).then(View => new View());
	}
});

return UI.extend({ __init__() { for (const k in UI.prototype) if (typeof(this[k]) == 'function' && !this[k].extend) this[k] = this[k].bind(this); } });

'use strict';
/* UCI files as rpcd shows them, with changes held back until they are applied.
 * Only the plain form that "uci commit" writes is read. */

const fs = require('fs');
const path = require('path');

function parse(text) {
	const sections = {};
	let s = null, anonymous = 0;

	for (const line of text.split('\n')) {
		const m = /^\s*(config|option|list) (\S+)(?: '((?:[^']|'\\'')*)')?$/.exec(line);

		if (!m)
			continue;

		const value = (m[3] || '').replace(/'\\''/g, "'");

		if (m[1] == 'config') {
			const name = value || 'cfg' + String(++anonymous).padStart(6, '0');

			s = sections[name] = { '.anonymous': !value, '.type': m[2], '.name': name, '.index': Object.keys(sections).length };
		}
		else if (m[1] == 'list')
			(s[m[2]] ??= []).push(value);
		else
			s[m[2]] = value;
	}

	return sections;
}

function print(sections) {
	const quote = v => "'" + String(v).replace(/'/g, "'\\''") + "'";
	let text = '';

	for (const s of Object.values(sections)) {
		text += '\nconfig ' + s['.type'] + (s['.anonymous'] ? '' : ' ' + quote(s['.name'])) + '\n';

		for (const [ k, v ] of Object.entries(s))
			if (k[0] != '.')
				for (const item of [].concat(v))
					text += '\t' + (Array.isArray(v) ? 'list' : 'option') + ' ' + k + ' ' + quote(item) + '\n';
	}

	return text + '\n';
}

class Staging {
	constructor(folder) {
		this.folder = folder;
		this.revert();
	}

	revert() {
		this.packages = {};
		this.changes = {};
	}

	load(name) {
		if (this.packages[name])
			return this.packages[name];

		const file = path.join(this.folder, name);

		if (!/^[\w-]+$/.test(name) || !fs.existsSync(file))
			throw 4;

		return this.packages[name] = parse(fs.readFileSync(file, 'utf8'));
	}

	note(name, ...change) { (this.changes[name] ??= []).push(change); }

	add(name, type, section, values) {
		const all = this.load(name);

		section ??= 'cfg' + String(Object.keys(all).length).padStart(6, 'a');
		all[section] = { '.anonymous': false, '.type': type, '.name': section, '.index': Object.keys(all).length };
		this.note(name, 'add', section, type);
		this.set(name, section, values);
		return section;
	}

	set(name, section, values) {
		const s = this.load(name)[section];

		if (!s)
			throw 4;

		for (const [ k, v ] of Object.entries(values)) {
			if (v === '' || v == null)
				delete s[k];
			else
				s[k] = Array.isArray(v) ? v.map(String) : String(v);
			this.note(name, 'set', section, k, v);
		}
	}

	remove(name, section, options) {
		const all = this.load(name);

		if (!options)
			delete all[section];
		else
			for (const k of options)
				delete all[section][k];
		this.note(name, 'remove', section, ...(options || []));
	}

	commit() {
		for (const name in this.changes)
			fs.writeFileSync(path.join(this.folder, name), print(this.packages[name]), { mode: 0o600 });
		this.revert();
	}
}

module.exports = { Staging, parse, print };

'use strict';
'require dom';
'require form';
'require network';
'require rpc';
'require uci';
'require ui';

/* The form of an interface with proto greseal. What a value may be is not said
 * here: greseal judges the form itself (its plugin's method check), each value
 * when it is typed and all together before they are saved. */

const callCheck = rpc.declare({
	object: 'luci.greseal',
	method: 'check',
	params: [ 'tunnel', 'options', 'alone' ],
	expect: { '': {} }
});

const callGenPSK = rpc.declare({
	object: 'luci.greseal',
	method: 'genpsk',
	expect: { '': {} }
});

const callGenKey = rpc.declare({
	object: 'luci.greseal',
	method: 'genkey',
	params: [ 'tunnel' ],
	expect: { '': {} }
});

const callStore = rpc.declare({
	object: 'luci.greseal',
	method: 'store',
	params: [ 'tunnel', 'option', 'data' ],
	expect: { '': {} }
});

const callPreview = rpc.declare({
	object: 'luci.greseal',
	method: 'peer_preview',
	params: [ 'tunnel', 'options', 'vendor', 'own', 'networks', 'secrets' ],
	expect: { '': {} }
});

/* Products, and what a file with the configuration of one is called at its end. */
const vendors = [
	[ 'strongswan', 'strongSwan', 'sh' ],
	[ 'libreswan', 'libreswan', 'sh' ],
	[ 'mikrotik', 'MikroTik RouterOS 7', 'rsc' ],
	[ 'cisco', 'Cisco IOS-XE', 'txt' ],
	[ 'vyos', 'VyOS', 'sh' ],
	[ 'openwrt', 'greseal on OpenWrt (UCI)', 'uci' ],
	[ 'greseal', 'greseal elsewhere (TOML)', 'toml' ]
];

/* The options of an interface, in the order in which they are shown: tab,
 * widget, option, title, description, and what leaving it out means or, of a
 * choice, the words there are. */

/* BEGIN GENERATED options */
const options = [
	[ 'general', 'list', 'remote', _('Remote'), _('The peer: an address, a host name, or a list of them in order of preference. "any" waits for peers from any address and never initiates.'), 'vpn.example.net' ],
	[ 'general', 'text', 'remote_port', _('Remote port'), _('UDP port on which the peer answers. 4500 starts with UDP encapsulation at once, for peers behind a NAT that forwards only this port.'), '500' ],
	[ 'general', 'text', 'local', _('Local'), _('Own address, or the interface whose address is used and through which alone the peer is reached. Without it, the route to the peer decides.'), _('by route') ],
	[ 'general', 'secret', 'psk', _('Pre-shared key'), _('Pre-shared key, the same on both sides, used exactly as written, without any decoding.') ],
	[ 'general', 'text', 'psk_file', _('Key file'), _('File that holds the pre-shared key, readable by its owner only.'), '/etc/greseal/hq.psk' ],
	[ 'general', 'text', 'cert', _('Certificate'), _('Own certificate and its intermediates in PEM form.'), '/etc/greseal/router.crt' ],
	[ 'general', 'text', 'key', _('Private key'), _('Private key of the certificate in PEM form, readable by its owner only.'), '/etc/greseal/router.key' ],
	[ 'general', 'list', 'ca', _('CA certificates'), _('Certificates of the authorities that may have issued the peer\'s certificate.'), '/etc/greseal/ca.crt' ],
	[ 'general', 'list', 'crl', _('Revocation lists'), _('Revocation lists of these authorities. With lists, each certificate of the peer needs a current one from its issuer.'), '/etc/greseal/ca.crl' ],
	[ 'general', 'text', 'raw_key', _('Own raw key'), _('Own private key for authentication by raw public keys, readable by its owner only.'), '/etc/greseal/router.key' ],
	[ 'general', 'text', 'peer_raw_key', _('Peer\'s public key'), _('File that holds the peer\'s public key.'), '/etc/greseal/hq.pub' ],
	[ 'general', 'list', 'address', _('Address'), _('Addresses of the interface inside the tunnel, with prefix length.'), '10.255.0.2/30' ],
	[ 'general', 'list', 'routes', _('Routes'), _('Networks behind the peer. While the tunnel is down, their traffic is rejected by an unreachable route instead of leaving another way.'), '10.0.0.0/16' ],

	[ 'security', 'secret', 'psk_old', _('Earlier key'), _('The pre-shared key from before a change, accepted until the first handshake with the new one.') ],
	[ 'security', 'text', 'local_id', _('Local identity'), _('Own identity: a domain name, mail address, IP address or distinguished name, or keyid: before any other text. Without it, the own address or the subject of the certificate.'), 'branch1.example.net' ],
	[ 'security', 'text', 'remote_id', _('Peer identity'), _('Identity the peer must prove. Without it, any is accepted from whoever knows the pre-shared key; with a certificate it is the host or address of the remote.'), 'hq.example.net' ],
	[ 'security', 'text', 'ppk_id', _('Post-quantum key name'), _('Name of the post-quantum pre-shared key (RFC 8784) that both sides share.'), 'ppk1' ],
	[ 'security', 'secret', 'ppk', _('Post-quantum key'), _('The post-quantum pre-shared key itself, mixed into the keys in addition to the authentication.') ],
	[ 'security', 'text', 'ppk_file', _('Post-quantum key file'), _('File that holds the post-quantum pre-shared key, readable by its owner only.'), '/etc/greseal/hq.ppk' ],
	[ 'security', 'flag', 'ppk_required', _('Require the post-quantum key'), _('Refuse a peer that does not use the post-quantum pre-shared key.'), 'false' ],
	[ 'security', 'list', 'ike', _('IKE proposals'), _('Proposals for the IKE SA in order of preference, algorithms joined with "-": encryption, integrity unless the encryption brings its own, pseudorandom function, key exchange. Without it, a strong list that most peers share.'), 'aes256gcm16-prfsha384-x25519' ],
	[ 'security', 'list', 'esp', _('ESP proposals'), _('Proposals for the Child SA in order of preference: encryption, and integrity unless the encryption brings its own. Without it, a strong list of what the datapath can do.'), 'aes128gcm16' ],
	[ 'security', 'flag', 'pfs', _('Perfect forward secrecy'), _('Make a new key exchange at each rekey of the Child SA.'), 'true' ],

	[ 'gre', 'choice', 'gre_type', _('Payload'), _('"ip" carries IPv4 and IPv6 packets, "ethernet" whole frames (gretap), so that the interface can join a bridge.'), [ 'ip', 'ethernet' ] ],
	[ 'gre', 'text', 'gre_bridge', _('Bridge'), _('Bridge that the interface joins, when it carries Ethernet frames.'), 'br-lan' ],
	[ 'gre', 'text', 'gre_key', _('GRE key'), _('A number, the same on both sides. It distinguishes several tunnels to one peer.'), '42' ],
	[ 'gre', 'text', 'gre_local', _('Local GRE endpoint'), _('Own GRE endpoint inside ESP, in tunnel mode. Without it, the outer address.'), '192.168.9.2' ],
	[ 'gre', 'text', 'gre_remote', _('Remote GRE endpoint'), _('The peer\'s GRE endpoint inside ESP, in tunnel mode. Without it, the outer address; with "any" as remote, what the authenticated peer proposes.'), '192.168.9.1' ],
	[ 'gre', 'text', 'gre_ttl', _('TTL'), _('Time to live of the GRE packet. 0 copies that of the packet inside, which breaks routing protocols that send with 1.'), '64' ],
	[ 'gre', 'text', 'gre_tos', _('TOS byte'), _('TOS byte of the GRE packet, or "inherit" to copy that of the packet inside, where an observer can then read it.'), '0' ],
	[ 'gre', 'text', 'gre_keepalive', _('Keepalive interval'), _('Interval of GRE keepalives in Cisco\'s form, for peers that want them. Liveness does not need them.'), _('off') ],
	[ 'gre', 'flag', 'gre_sequence', _('Sequence numbers'), _('Number the GRE packets and drop those that come out of order. ESP protects against replay without it.'), 'false' ],
	[ 'gre', 'flag', 'gre_checksum', _('Checksum'), _('Carry a GRE checksum. ESP protects integrity without it.'), 'false' ],
	[ 'gre', 'flag', 'gre_ignore_df', _('Ignore DF'), _('Fragment packets that are too large after encryption, even if their DF bit is set.'), 'false' ],

	[ 'advanced', 'choice', 'mode', _('Mode'), _('"tunnel" hides the whole GRE packet, its IP header included. "transport" saves 20 bytes per packet (40 with IPv6) and is in use only when the peer confirms it.'), [ 'tunnel', 'transport' ] ],
	[ 'advanced', 'choice', 'encap', _('UDP encapsulation'), _('When ESP travels in UDP port 4500: "auto" when a NAT is found or bare ESP does not get through, "always", or "never".'), [ 'auto', 'always', 'never' ] ],
	[ 'advanced', 'text', 'ike_lifetime', _('IKE SA lifetime'), _('Age by which the IKE SA has been rekeyed. Rekeying starts earlier, by a random margin.'), '24h' ],
	[ 'advanced', 'text', 'child_lifetime', _('Child SA lifetime'), _('Age by which the Child SA has been rekeyed. Rekeying starts earlier, by a random margin.'), '1h' ],
	[ 'advanced', 'text', 'child_bytes', _('Child SA bytes'), _('Bytes by which the Child SA has been rekeyed: a number, or one with kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024).'), _('no limit') ],
	[ 'advanced', 'text', 'child_packets', _('Child SA packets'), _('Packets by which the Child SA has been rekeyed.'), _('no limit') ],
	[ 'advanced', 'text', 'reauth', _('Reauthenticate after'), _('Age by which the peers have reauthenticated.'), _('never') ],
	[ 'advanced', 'text', 'replay_window', _('Replay window'), _('How many packets late a packet may arrive and still be accepted, rounded up to a multiple of 64.'), '2048' ],
	[ 'advanced', 'text', 'dpd', _('Liveness check'), _('Silence after which the peer is asked whether it is alive. 10 s cost about 45 MB a month on an idle line.'), '10s' ],
	[ 'advanced', 'text', 'dpd_suspect', _('Link down after'), _('Silence after which the link is shown as down and other routes take over.'), '15s' ],
	[ 'advanced', 'text', 'dpd_dead', _('Peer dead after'), _('Silence after which the SAs are given up and negotiated again.'), '120s' ],
	[ 'advanced', 'text', 'failback', _('Failback'), _('How long a preferred remote must have been healthy before it is used again.'), '60s' ],
	[ 'advanced', 'text', 'metric', _('Metric'), _('Metric of the routes; the lowest wins.'), '0' ],
	[ 'advanced', 'text', 'table', _('Routing table'), _('Routing table of the routes: "main" or a number.'), 'main' ],
	[ 'advanced', 'text', 'fwmark', _('Firewall mark'), _('Firewall mark of the outer packets, for policy routing.'), '0' ],
	[ 'advanced', 'flag', 'fallback', _('Fall back to other routes'), _('Let traffic for the routes take other routes, even unencrypted ones, while the tunnel is down.'), 'false' ],
	[ 'advanced', 'text', 'mtu', _('MTU'), _('Largest packet inside, in bytes. "auto" computes it from the negotiated algorithms and the path MTU, which is searched.'), 'auto' ],
	[ 'advanced', 'flag', 'mss_clamp', _('MSS clamping'), _('Clamp the segment size of TCP connections through the tunnel to what fits.'), 'true' ],
];
/* END GENERATED */

/* The ways to authenticate, each with the options that are its own. */
const ways = [
	[ 'psk', _('pre-shared key'), [ 'psk' ] ],
	[ 'psk_file', _('pre-shared key in a file'), [ 'psk_file' ] ],
	[ 'cert', _('certificate'), [ 'cert', 'key', 'ca', 'crl' ] ],
	[ 'raw_key', _('raw public key'), [ 'raw_key', 'peer_raw_key' ] ]
];

/* A file of its own proves too much or too little by itself. */
const together = [ 'psk_file', 'cert', 'key', 'ca', 'crl', 'raw_key', 'peer_raw_key', 'ppk_file', 'ppk_id', 'gre_bridge' ];

/* A login that may only look: none of the calls here is granted to it. */
const readonly = () => !L.hasViewPermission();

const titles = {};

options.forEach(([ , , name, title ]) => titles[name] = title);

/* greseal speaks of the keys and values of its files. In a form a key is a field
 * with a title, and of the field itself only the value is said. */
const worded = (text, own) => text
	.replace(/\["([^"]*)"\]/g, '"$1"')
	.replace(/\b([a-z]\w*(?:\.\w+)?) = ("[^"]*"|\w+)/g, (all, key, value) => {
		const name = key.replace('.', '_');

		return name == own ? value : titles[name] ? _('%s in “%s”').format(value, titles[name]) : all;
	})
	.replace(/\b(?:gre\.\w+|[a-z]+(?:_[a-z]+)+|psk|ppk|dpd|ca|crl)\b/g, key => {
		const title = titles[key.replace('.', '_')];

		return title ? '“%s”'.format(title) : key;
	})
	.replace(/leave (it|the key) out/g, 'leave the field empty')
	.replace(/, or make one: greseal genpsk -o \S+/, '')
	.replace(/greseal genpsk makes/, '“%s” makes'.format(_('Generate a key')))
	.replace(/greseal genpsk made/, '“%s” made'.format(_('Generate a key')));

const sentence = p => worded(p.remedy ? '%s; %s'.format(p.what, p.remedy) : p.what, p.option);

/* Judge keeps what greseal said of the values of one form. */
function Judge(section) {
	this.section = section;
	this.said = {};   /* by option and value: true, or what is wrong */
	this.whole = {};  /* by option: what the last check of all found */
	this.timers = {};
}

Judge.prototype = {
	/* of one value, for LuCI's validators: these want an answer at once, so it
	 * is asked for, and the validator is run again when it is there. */
	value(option, section_id, value) {
		const name = option.option,
		      key = name + '=' + value;

		if (this.whole[name] && this.whole[name].value == String(option.formvalue(section_id)))
			return this.whole[name].text;

		/* What is in the file was judged with all the rest when the form opened. */
		if (value == null || value == '' || readonly() || L.toArray(option.cfgvalue(section_id)).indexOf(value) != -1)
			return true;

		if (this.said[key] != null)
			return this.said[key];

		if (together.indexOf(name) == -1) {
			window.clearTimeout(this.timers[name]);
			this.timers[name] = window.setTimeout(() => this.ask(option, section_id, value, key), 250);
		}

		return true;
	},

	ask(option, section_id, value, key) {
		return L.resolveDefault(callCheck(section_id, { [option.option]: value }, true), {}).then(res => {
			const wrong = L.toArray(res.problems).filter(p => p.option == option.option && !p.warning);

			if (res.ok !== true)
				return;

			this.said[key] = wrong.length ? wrong.map(sentence).join(' ') : true;
			this.again(option, section_id);
		});
	},

	/* has the validators of a field look again; those of a list sit at the field
	 * for the next item, where LuCI cannot be asked to run them. */
	again(option, section_id) {
		const field = option.getUIElement(section_id);

		if (field)
			field.node.querySelectorAll('input:not([type="hidden"])').forEach(i => i.dispatchEvent(new Event('keyup')));
	},

	/* of all values together; problems shows what it finds. */
	all(section_id) {
		return L.resolveDefault(callCheck(section_id, this.values(section_id)), {}).then(res => {
			if (res.ok !== true)
				return [ { option: '', what: res.error || _('greseal gave no answer'), remedy: res.remedy, warning: true } ];

			return L.toArray(res.problems);
		});
	},

	/* forgets what the last check of all found, before the next. */
	forget(section_id) {
		const names = Object.keys(this.whole);

		L.toArray(this.notes).forEach(note => note.remove());
		this.notes = [];

		this.whole = {};
		names.forEach(name => this.retry(name, section_id));
	},

	/* puts the mistakes at their fields, and returns what the first is written at;
	 * the field of a list itself is for its next item, which has nothing to do with
	 * them. */
	mark(section_id, mistakes) {
		mistakes.forEach(p => {
			const o = p.option ? this.section.getOption(p.option) : null,
			      field = o && o.isActive(section_id) ? o.getUIElement(section_id) : null;

			if (!field)
				return;

			const note = E('div', { 'class': 'alert-message danger', 'data-mistake': p.option }, [ sentence(p) ]);

			field.node.parentNode.insertBefore(note, field.node.nextSibling);
			this.notes.push(note);

			if (!(o instanceof form.DynamicList)) {
				this.whole[p.option] = { value: String(o.formvalue(section_id)), text: sentence(p) };
				this.retry(p.option, section_id);
			}
		});

		return this.notes[0];
	},

	retry(name, section_id) {
		const o = this.section.getOption(name);

		if (o && o.isActive(section_id))
			this.again(o, section_id);
	},

	/* the options as they would be written: those that LuCI's own part of the form
	 * adds, and those in the file that no form shows, are greseal's to judge too. */
	values(section_id) {
		const values = {}, stored = uci.get('network', section_id) || {};

		Object.keys(stored).filter(k => k[0] != '.').forEach(k => values[k] = stored[k]);

		this.section.children.forEach(o => {
			const name = o.ucioption || o.option;

			if (name[0] == '_')
				return;

			const v = o.isActive(section_id) ? o.formvalue(section_id) : null;

			if (v == null || v == '' || (o instanceof form.Flag && v == o.default))
				delete values[name];
			else
				values[name] = v;
		});

		return values;
	},

	title(name) {
		return titles[name] || name;
	}
};

/* The line at the head of the form that says what greseal thinks of it. Saving
 * waits for it, and is refused while there are mistakes. */
const CheckValue = form.DummyValue.extend({
	renderWidget(section_id) {
		this.node = E('div', { 'id': this.cbid(section_id), 'data-greseal': 'check' });
		this.tries = 25;
		this.show(section_id);
		return this.node;
	},

	show(section_id) {
		/* Who may only read may not ask either: a check looks at files. */
		if (!this.tries-- || readonly())
			return;

		if (!uci.get('network', section_id, 'remote'))
			return dom.content(this.node, [ E('em', {}, [ _('A remote, a key and an address are enough. The settings are checked when they are saved.') ]) ]);

		/* The fields have their values when they are in the page. */
		window.setTimeout(() => this.node.isConnected
			? this.judge.all(section_id).then(list => this.tell(list)) : this.show(section_id), 200);
	},

	tell(list) {
		dom.content(this.node, list.length ? list.map(p => E('div', {
			'class': 'alert-message %s'.format(p.warning ? 'warning' : 'danger')
		}, [
			p.option ? E('strong', {}, [ this.judge.title(p.option), ': ' ]) : '',
			sentence(p)
		])) : [ E('em', {}, [ _('nothing to complain about') ]) ]);
	},

	parse(section_id) {
		if (!this.isActive(section_id))
			return Promise.resolve();

		this.judge.forget(section_id);

		return this.judge.all(section_id).then(list => {
			const mistakes = list.filter(p => !p.warning);

			this.tell(list);

			const at = this.judge.mark(section_id, mistakes) || this.node;

			if (mistakes.length) {
				/* The tab on which the first of them stands is opened. */
				const pane = at.closest('[data-tab]'),
				      tab = pane ? this.node.closest('.cbi-map').querySelector('.cbi-tabmenu > [data-tab="%s"] > a'.format(pane.getAttribute('data-tab'))) : null;

				if (tab)
					tab.click();

				at.scrollIntoView({ block: 'center' });
				return Promise.reject(new TypeError(mistakes.map(p =>
					p.option ? '%s: %s'.format(this.judge.title(p.option), sentence(p)) : sentence(p)).join('\n')));
			}
		});
	}
});

/* A field that is not part of the configuration. */
function loose(o) {
	o.load = o.cfgvalue = () => null;
	o.write = o.remove = () => {};
	return o;
}

function addOption(s, judge, row) {
	const [ tab, widget, name, title, description, more ] = row;
	const classes = { list: form.DynamicList, flag: form.Flag, choice: form.ListValue };
	const o = s.taboption(tab, classes[widget] || form.Value, name, title, description);

	switch (widget) {
	case 'flag':
		o.default = (more == 'true') ? o.enabled : o.disabled;
		return o;

	case 'choice':
		o.value('', _('default (%s)').format(more[0]));
		more.forEach(word => o.value(word));
		return o;

	case 'secret':
		o.password = true;
		break;

	default:
		o.placeholder = more;
	}

	o.validate = function(section_id, value) {
		return judge.value(this, section_id, value);
	};

	return o;
}

function addWays(s) {
	const o = s.taboption('general', form.ListValue, '_auth', _('Authentication'));

	ways.forEach(([ way, title ]) => o.value(way, title));
	o.default = 'psk';
	loose(o);
	o.load = o.cfgvalue = section_id => (ways.filter(([ , , names ]) =>
		names.some(name => uci.get('network', section_id, name)))[0] || ways[0])[0];
}

function addGenerator(s) {
	const o = s.taboption('general', form.Button, '_genpsk', ' ', _('A new key goes into the field above; give the same to the other side.'));

	o.inputtitle = _('Generate a key');
	o.readonly = readonly();
	o.inputstyle = 'apply';
	o.depends('_auth', 'psk');
	loose(o);
	o.onclick = function(ev, section_id) {
		return callGenPSK().then(res => {
			if (!res.psk)
				throw new Error(res.error || _('greseal gave no answer'));

			fill(s, section_id, 'psk', res.psk);
		});
	};
}

/* puts a path into the field of an option, behind those that a list has */
function fill(s, section_id, name, path) {
	const field = s.getUIElement(section_id, name),
	      list = s.getOption(name) instanceof form.DynamicList;

	field.setValue(list ? [ ...field.getValue().filter(p => p != path), path ] : path);
	field.node.setAttribute('data-changed', true);
	field.triggerValidation();
	field.node.dispatchEvent(new CustomEvent('widget-change', { bubbles: true }));
}

const refused = res => ui.addNotification(null, [ E('p', {}, [ res.error || _('greseal gave no answer') ]) ], 'danger');

/* asks for a file, which greseal looks at and keeps in its own folder */
function upload(s, section_id, name) {
	const input = E('input', { 'type': 'file', 'change': () => input.files[0].text()
		.then(text => L.resolveDefault(callStore(section_id, name, text), {}))
		.then(res => res.path ? fill(s, section_id, name, res.path) : refused(res)) });

	input.click();
}

const uploaded = [ 'cert', 'key', 'ca', 'crl', 'raw_key', 'peer_raw_key' ];

function addUpload(s, name, way) {
	const o = s.taboption('general', form.Button, '_upload_' + name, ' ');

	o.inputtitle = _('Upload');
	o.readonly = readonly();
	o.depends('_auth', way);
	loose(o);
	o.onclick = (ev, section_id) => upload(s, section_id, name);
}

function addKeyMaker(s) {
	let o = s.taboption('general', form.Button, '_genkey', ' ', _('The private half stays on this router; the public half is for the other side.'));

	o.inputtitle = _('Make a key pair');
	o.readonly = readonly();
	o.inputstyle = 'apply';
	o.depends('_auth', 'raw_key');
	loose(o);
	o.onclick = (ev, section_id) => L.resolveDefault(callGenKey(section_id), {}).then(res => {
		if (!res.path)
			return refused(res);

		const text = E('pre', { 'data-public': '' }, [ res.public ]);

		fill(s, section_id, 'raw_key', res.path);
		dom.content(document.getElementById(s.getOption('_public').cbid(section_id)), [
			E('p', {}, [ _('The public half, for the other side:') ]), text,
			E('button', { 'class': 'btn cbi-button cbi-button-neutral', 'click': ev => { ev.preventDefault(); copy(text); } }, [ _('Copy') ]), ' ',
			E('button', { 'class': 'btn cbi-button cbi-button-neutral', 'click': ev => { ev.preventDefault(); download('%s.pub'.format(section_id), res.public); } }, [ _('Download') ])
		]);
	});

	o = s.taboption('general', form.DummyValue, '_public', ' ');
	o.depends('_auth', 'raw_key');
	loose(o);
	o.renderWidget = function(section_id) {
		return E('div', { 'id': this.cbid(section_id) });
	};
}

/* LuCI's own field of the firewall zone: without a zone nothing passes the tunnel,
 * so it stands where a new one is filled in. */
function moveZone(s) {
	const o = s.getOption('_zone'), from = s.tabs.firewall;

	if (!o || !from)
		return;

	from.children = from.children.filter(c => c !== o);
	s.tabs.general.children.push(o);
	o.tab = 'general';
}

/* Proposes the devices of the other networks, by the networks' names. */
function proposeDevices(o) {
	o.load = function(section_id) {
		return L.resolveDefault(Promise.resolve(network.getNetworks()), []).then(list => {
			list.forEach(n => {
				const device = n.getL3Device();

				if (device && n.getProtocol() != 'greseal' && n.getName() != 'loopback')
					this.value(device.getName(), '%s (%s)'.format(n.getName(), device.getName()));
			});

			return uci.get('network', section_id, this.option);
		});
	};
}

/* Where this router may be found from outside: addresses of the interfaces with a
 * default route, and names that DDNS keeps. */
function ownAddresses() {
	return Promise.all([ network.getWANNetworks(), network.getWAN6Networks(), uci.load('ddns') ].map(p => L.resolveDefault(p, []))).then(([ v4, v6 ]) => [
		...uci.sections('ddns', 'service').filter(d => d.enabled == '1').map(d => [ d.lookup_host || d.domain, _('DDNS') ]),
		...v4.map(n => [ n.getIPAddr(), n.getName() ]),
		...v6.map(n => [ n.getIP6Addr(), n.getName() ])
	].filter(([ where ]) => where));
}

/* Pages without TLS have no clipboard of their own to write to. */
function copy(node) {
	if (navigator.clipboard)
		return navigator.clipboard.writeText(node.textContent);

	window.getSelection().selectAllChildren(node);
	document.execCommand('copy');
	window.getSelection().removeAllRanges();
}

function download(name, text) {
	const link = E('a', { 'href': URL.createObjectURL(new Blob([ text ], { 'type': 'text/plain' })), 'download': name });

	link.click();
	window.setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function addOtherSide(s, judge) {
	let o, asked = 0;

	const show = section_id => {
		const value = name => s.formvalue(section_id, name), turn = ++asked,
		      vendor = vendors.filter(([ name ]) => name == value('_vendor'))[0];

		return callPreview(section_id, judge.values(section_id), vendor[0], value('_own') || '', L.toArray(value('_networks')).join(','), value('_secrets') == '1').then(res => {
			if (turn != asked)
				return; /* another was asked for meanwhile */

			const text = E('pre', {}, [ res.text || '' ]);
			const button = (name, title, fn) => E('button', { 'class': 'btn cbi-button cbi-button-neutral', 'data-action': name, 'click': ev => { ev.preventDefault(); fn(); } }, [ title ]);

			dom.content(document.getElementById(s.getOption('_text').cbid(section_id)), res.ok === true ? [
				E('div', { 'style': 'margin-bottom:6px' }, [
					button('copy', _('Copy'), () => copy(text)), ' ',
					button('download', _('Download'), () => download('%s-%s.%s'.format(section_id, vendor[0], vendor[2]), res.text))
				]), text
			] : [ E('div', { 'class': 'alert-message warning' }, [ res.error || _('greseal gave no answer') ].concat(
				L.toArray(res.lines).map(line => E('div', {}, [ line.replace(/^\w+(?=: )/, name => judge.title(name)) ])))) ]);
		});
	};
	const again = (ev, section_id) => { if (!readonly()) show(section_id); };

	o = s.taboption('peer', form.ListValue, '_vendor', _('Product'), _('The product on the other side. Its configuration is written for the settings in this form.'));
	vendors.forEach(([ name, title ]) => o.value(name, title));
	o.default = vendors[0][0];
	o.onchange = again;
	loose(o);

	o = s.taboption('peer', form.Value, '_own', _('Own address'), _('Outer address or host name of this router, where the other side finds it.'));
	o.placeholder = _('as far as it is known');
	o.onchange = again;
	loose(o);
	o.load = function() {
		return ownAddresses().then(list => {
			list.forEach(([ where, whose ]) => this.value(where, '%s (%s)'.format(where, whose)));
			return null;
		});
	};

	o = s.taboption('peer', form.DynamicList, '_networks', _('Networks here'), _('Networks behind this router, for the routes of the other side.'));
	o.placeholder = '192.168.1.0/24';
	o.onchange = again;
	loose(o);

	o = s.taboption('peer', form.Flag, '_secrets', _('Include the key'), _('Else there is a placeholder in its place. Hand the text on only in a way that nobody else can read.'));
	o.onchange = again;
	loose(o);

	o = s.taboption('peer', form.Button, '_show', ' ');
	o.inputtitle = _('Show its configuration');
	o.readonly = readonly();
	o.inputstyle = 'apply';
	loose(o);
	o.onclick = (ev, section_id) => show(section_id);

	o = s.taboption('peer', form.DummyValue, '_text', ' ');
	loose(o);
	o.renderWidget = function(section_id) {
		return E('div', { 'id': this.cbid(section_id), 'data-greseal': 'peer' });
	};
}

/* LuCI shows these on one line that does not wrap. */
network.registerErrorCode('NO_ANSWER', _('No answer'));
network.registerErrorCode('AUTH_FAILED', _('Wrong key or identity'));
network.registerErrorCode('NO_PROPOSAL_CHOSEN', _('No common algorithms'));
network.registerErrorCode('TS_UNACCEPTABLE', _('No common traffic selectors'));
network.registerErrorCode('PEER_REFUSED', _('Refused by the other side'));
network.registerErrorCode('MACHINE_FAILED', _('Hindered by this router'));
network.registerErrorCode('NO_PATH', _('No way to the other side'));
network.registerErrorCode('CONFIG_INVALID', _('Mistakes in the settings'));
network.registerErrorCode('NOT_CONFIGURED', _('Not known to greseal'));
network.registerErrorCode('TAKEN_DOWN', _('Taken down by hand'));
network.registerErrorCode('SETUP_FAILED', _('greseal was not reached'));

return network.registerProtocol('greseal', {
	getI18n() {
		return _('GRE over IPsec');
	},

	getIfname() {
		return this._ubus('l3_device') || this.sid;
	},

	getPackageName() {
		return 'greseal';
	},

	getOpkgPackage() {
		return 'greseal';
	},

	/* A name that cannot be one, or is taken, is refused before anything is made. */
	isCreateable(name) {
		return L.resolveDefault(callCheck(name, {}, false), {}).then(res => {
			const wrong = L.toArray(res.problems).filter(p => p.option == 'name' && !p.warning)[0];

			return wrong ? sentence(wrong) : null;
		});
	},

	isFloating() {
		return true;
	},

	isVirtual() {
		return true;
	},

	getDevices() {
		return null;
	},

	/* It is called like the interface, also while it is not there, and is a
	 * tunnel, which its name does not tell. */
	getDevice() {
		return network.instantiateDevice(this.getIfname(), this, { getType: () => 'tunnel' });
	},

	getL3Device() {
		return this.getDevice();
	},

	containsDevice(ifname) {
		return (network.getIfnameOf(ifname) == this.getIfname());
	},

	renderFormOptions(s) {
		const judge = new Judge(s);

		for (const [ tab, title ] of [ [ 'security', _('Security') ], [ 'gre', 'GRE' ], [ 'peer', _('Other side') ] ])
			if (!s.tabs || !s.tabs[tab])
				s.tab(tab, title);

		const check = s.taboption('general', CheckValue, '_check', _('Check'));
		check.judge = judge;

		/* General begins with what every tunnel needs and ends with what few do. */
		const late = row => [ 'remote_port', 'local' ].indexOf(row[2]) != -1,
		      zone = [ 'general', '_zone' ];

		for (const row of [ ...options.filter(row => row[0] == 'general' && !late(row)), zone, ...options.filter(late), ...options.filter(row => row[0] != 'general') ]) {
			if (row == zone) {
				moveZone(s);
				continue;
			}

			if (row[2] == 'psk')
				addWays(s);

			const o = addOption(s, judge, row),
			      way = ways.filter(([ , , names ]) => names.indexOf(row[2]) != -1)[0];

			if (way)
				o.depends('_auth', way[0]);

			if (uploaded.indexOf(row[2]) != -1)
				addUpload(s, row[2], way[0]);

			if (row[2] == 'raw_key')
				addKeyMaker(s);

			switch (row[2]) {
			case 'psk':
				o.rmempty = false;
				addGenerator(s);
				break;

			case 'psk_file':
			case 'cert':
			case 'key':
			case 'raw_key':
			case 'peer_raw_key':
				o.rmempty = false;
				break;

			case 'local':
				proposeDevices(o);
				break;

			case 'gre_bridge':
				o.depends('gre_type', 'ethernet');
				break;

			case 'ppk':
			case 'ppk_file':
			case 'ppk_required':
				o.depends({ 'ppk_id': /./ });
				break;
			}
		}

		addOtherSide(s, judge);
	}
});

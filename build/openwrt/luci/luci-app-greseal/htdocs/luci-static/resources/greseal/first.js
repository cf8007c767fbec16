'use strict';
'require baseclass';
'require dom';
'require rpc';
'require ui';

/* What the status page says before there is a tunnel. */

const callHandlers = rpc.declare({
	object: 'network',
	method: 'get_proto_handlers',
	expect: { '': {} }
});

const callNetworkRestart = rpc.declare({
	object: 'luci.greseal',
	method: 'network_restart',
	expect: { '': {} }
});

function askRestart() {
	ui.showModal(_('Restart the network?'), [
		E('p', {}, [ _('Every interface of this router goes down and comes up again, which takes up to a minute. If you reach this page over one that does not come up by itself, you will lose it.') ]),
		E('div', { 'class': 'right' }, [
			E('button', { 'class': 'btn cbi-button', 'click': ui.hideModal }, [ _('Cancel') ]), ' ',
			E('button', {
				'class': 'btn cbi-button cbi-button-negative important', 'data-action': 'really-restart',
				'click': ui.createHandlerFn(null, () => callNetworkRestart().finally(ui.hideModal))
			}, [ _('Restart') ])
		])
	]);
}

return baseclass.extend({
	/* fills a node as long as netifd does not know our protocol: it reads its handlers when it is started */
	handler(node, readonly) {
		return L.resolveDefault(callHandlers(), { 'greseal': {} }).then(known => dom.content(node, known.greseal ? [] : [
			E('div', { 'class': 'alert-message warning', 'data-notice': 'handler' }, [
				E('p', {}, [ _('The protocol GRE over IPsec is installed, but the network has not been restarted since. Until then it is not offered in Network, Interfaces, and interfaces that have it do not come up.') ]),
				...(readonly ? [] : [ E('div', { 'class': 'right' }, [
					E('button', { 'class': 'btn cbi-button cbi-button-action', 'data-action': 'restart-network', 'click': askRestart }, [ _('Restart the network') ])
				]) ])
			])
		]));
	},

	empty() {
		return E('div', { 'data-empty': '', 'style': 'padding:2em;text-align:center' }, [
			E('h3', {}, [ _('No tunnel yet') ]),
			E('p', {}, [ _('A tunnel is an interface with the protocol GRE over IPsec. It needs the address of the other side, a key and an address of its own; the form writes the other side\'s configuration, too.') ]),
			E('a', { 'class': 'btn cbi-button cbi-button-action', 'href': L.url('admin/network/network') }, [ _('Add one in Network, Interfaces') ])
		]);
	}
});

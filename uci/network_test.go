package uci

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"greseal/tunnel/config"
)

const oneInterface = "config interface 'hq'\n\toption proto 'greseal'\n\toption remote '192.0.2.1'\n\toption psk '" + psk + "'\n\tlist address '10.255.0.2/30'\n"

// withTables puts /etc/iproute2 elsewhere.
func withTables(t *testing.T, files map[string]string) {
	before := iproute2
	iproute2 = t.TempDir()
	t.Cleanup(func() { iproute2 = before })
	for name, text := range files {
		path := filepath.Join(iproute2, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func warnings(c *config.Config, dir string) string {
	said := ""
	for _, p := range c.Warnings {
		said += p.String() + "\n"
	}
	return strings.ReplaceAll(said, dir+"/", "")
}

// Whatever netifd, LuCI, other programs and people write into an interface, the
// tunnel is taken; at most there is a warning, and one that helps.
func TestOptionsOfOthersInAnInterfaceRefuseNothing(t *testing.T) {
	withTables(t, nil)
	for option, want := range map[string]string{
		"option description 'Head office'":     "",
		"option comment 'ask Ana'":             "",
		"option carrier_loss_delay '5'":        "",
		"option force_link '1'":                "",
		"option zone 'vpn'":                    "",
		"option defaultroute '0'":              "",
		"list dns '192.0.2.53'":                "",
		"option dns_metric '10'":               "",
		"list tags 'a'":                        "",
		"option delegate '0'":                  "",
		"option ip6assign '64'":                "",
		"list ip6class 'local'":                "",
		"option multipath 'off'":               "",
		"option checkup_interval '30'":         "",
		"option ipv6 'auto'":                   "",
		"option _orig_ifname 'eth1'":           `network:6: warning: tunnel "hq": greseal ignores the option "_orig_ifname"; leave it if another program reads it, else remove it`,
		"option ipaddr '10.0.0.1'":             `greseal ignores the option "ipaddr"; did you mean address?`,
		"option rutes '10.2.0.0/24'":           `greseal ignores the option "rutes"; did you mean routes?`,
		"list something_new 'x'":               `greseal ignores the option "something_new"`,
		"option gre_sequnce '1'":               "did you mean gre_sequence?",
		"option ip4table 'pbr_hq'":             `there is no routing table "pbr_hq", and netifd takes main instead`,
		"option ip6table ''\n\toption note ''": "",
	} {
		dir := put(t, map[string]string{"greseal.toml": "", "network": oneInterface + "\t" + option + "\n"})
		c := mustLoad(t, dir)
		said := warnings(c, dir)
		if len(c.Tunnels) != 1 || want == "" && strings.Contains(said, "option") || !strings.Contains(said, want) {
			t.Errorf("%s: %d tunnels, %q; want %q", option, len(c.Tunnels), said, want)
		}
	}
	// In our own file a word that nobody knows is a mistake.
	for _, option := range []string{"description 'x'", "rutes '10.2.0.0/24'", "carrier_loss_delay '5'"} {
		text := "config tunnel 'hq'\n\toption remote '192.0.2.1'\n\toption psk '" + psk + "'\n\toption " + option + "\n"
		if got := mistakes(t, put(t, map[string]string{"greseal.toml": "", "greseal": text})); !strings.Contains(got, "there is no key") {
			t.Errorf("%s in /etc/config/greseal: %q", option, got)
		}
	}
}

func TestRoutingTablesHaveNames(t *testing.T) {
	withTables(t, map[string]string{
		"rt_tables":            "# reserved\n255\tlocal\n254\tmain\n253\tdefault\n0\tunspec\n#\n257 pbr_hq # by pbr\n",
		"rt_tables.d/vpn.conf": "300 vpn\n",
		"rt_tables.d/vpn.bak":  "301 old\n",
	})
	const four, six = "\tlist routes '10.2.0.0/24'\n", "\tlist routes '2001:db8:2::/48'\n"
	for options, want := range map[string]struct {
		table   uint32
		warning string
	}{
		"\toption ip4table '42'\n":                                   {42, ""},
		"\toption ip4table '0x2a'\n":                                 {42, ""},
		"\toption ip4table 'pbr_hq'\n":                               {257, ""},
		"\toption ip6table 'pbr_hq'\n":                               {257, ""},
		"\toption ip4table 'main'\n":                                 {254, ""},
		"\toption ip4table 'default'\n":                              {253, ""},
		"\toption ip4table 'vpn'\n":                                  {300, "rt_tables.d, which netifd does not read"},
		"\toption ip4table 'old'\n":                                  {254, "no routing table"},
		"\toption ip4table '0'\n":                                    {254, "no routing table"},
		"\toption ip4table '257'\n\toption ip6table 'pbr_hq'\n":      {257, ""},
		"\toption ip4table 'pbr_hq'\n\toption ip6table '6'\n" + four: {257, ""},
		"\toption ip4table 'pbr_hq'\n\toption ip6table '6'\n" + six:  {6, ""},
		"\toption ip6table '6'\n\toption ip4table '4'\n" + four:      {4, ""},
		"\toption ip4table 'pbr_hq'\n\toption table '9'\n":           {9, ""},
	} {
		dir := put(t, map[string]string{"greseal.toml": "", "network": oneInterface + options})
		c := mustLoad(t, dir)
		table, said := c.Tunnels[0].Table, warnings(c, dir)
		if table == 0 {
			table = mainTable
		}
		if table != want.table || !strings.Contains(said, want.warning) || want.warning == "" && strings.Contains(said, "table") {
			t.Errorf("%q: table %d, %q; want %d, %q", options, table, said, want.table, want.warning)
		}
	}
	both := "\toption ip4table 'pbr_hq'\n\toption ip6table '6'\n" + four + six
	if got := mistakes(t, put(t, map[string]string{"greseal.toml": "", "network": oneInterface + both})); !strings.Contains(got, "ip6table: is another table than ip4table") {
		t.Errorf("routes of both families in two tables: %q", got)
	}
}

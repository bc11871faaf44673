package verbs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWords: bad command lines end with 2, before anything is looked at.
func TestWords(t *testing.T) {
	for _, c := range []struct{ args, errw string }{
		{"realserver", "goipvs realserver takes one of add, del, show, check first"},
		{"realserver remove 192.0.2.10", "goipvs realserver takes one of add, del, show, check first"},
		{"realserver add", "give at least one VIP"},
		{"realserver add web", `"web" is not an IP address`},
		{"realserver add 192.0.2.10 192.0.2.11/32", `"192.0.2.11/32": give the address alone, 192.0.2.11; it is always a host address, not /32`},
		{"realserver add 192.0.2.10 --mode nat", `"nat" is no mode; use dr or tun`},
		{"realserver add 192.0.2.10 --mode tun --tunnel gue", `"gue" is no tunnel; use ipip, gre or gue:PORT`},
		{"realserver add 192.0.2.10 --mode tun --tunnel gue:0", `"gue:0" is no tunnel; use ipip, gre or gue:PORT`},
		{"realserver add 192.0.2.10 --tunnel gre", "--tunnel and --outer need --mode tun"},
		{"realserver add 192.0.2.10 --mode tun --outer 5", "--outer 5: use 4 or 6"},
		{"realserver add 192.0.2.10 --check --watch", "--check changes nothing, --watch does: use one of them"},
		{"realserver add 192.0.2.10 --dev", `goipvs realserver: --dev takes a value (try "goipvs help realserver")`},
		{"realserver del 192.0.2.10 --mode tun", "--mode does not go with goipvs realserver del"},
		{"realserver show 192.0.2.10", "goipvs realserver show takes no VIP"},
		{"realserver add 127.0.0.1", "127.0.0.1 is a loopback address, which no client can reach"},
		{"vip add 192.0.2.10", "goipvs vip needs --dev IF, the interface towards the router"},
		{"vip add --dev eth0", "give at least one VIP"},
		{"vip del 192.0.2.10 --dev eth0 --force", "--force does not go with goipvs vip del"},
		{"tune set", "goipvs tune set takes NAME=VALUE"},
		{"tune set conntrack", `"conntrack" is not NAME=VALUE`},
		{"tune set contrack=1", `no knob of a director is called "contrack", did you mean conntrack?`},
		{"tune set conntrack=2", "conntrack=2: it takes 0 or 1"},
		{"tune set net.ipv4.vs.sync_threshold=3", "sync_threshold=3: it takes two numbers: packet and period"},
		{"tune show kernel.core_pattern", `no knob of a director is called "kernel.core_pattern"`},
		{"tune undo --json nothing", `no knob of a director is called "nothing"`},
	} {
		var out, errw strings.Builder
		status := Run(append([]string{"goipvs"}, strings.Fields(c.args)...), "test", strings.NewReader(""), &out, &errw)
		if diff := cmp.Diff("goipvs: usage: "+c.errw+"\n", errw.String()); status != 2 || diff != "" || out.Len() != 0 {
			t.Errorf("%s: status %d, stdout %q (-want +got)\n%s", c.args, status, out.String(), diff)
		}
	}
}

func TestFlagsFirst(t *testing.T) {
	c := (&verbs{}).realserver()
	for in, want := range map[string]string{
		"goipvs realserver add 192.0.2.10 --mode tun --json": "goipvs realserver --mode tun --json add 192.0.2.10",
		"goipvs realserver add --dev=lo 192.0.2.10":          "goipvs realserver --dev=lo add 192.0.2.10",
		"goipvs realserver --json show":                      "goipvs realserver --json show",
		"goipvs realserver add --json -- --mode":             "goipvs realserver --json -- add --mode",
		"goipvs realserver":                                  "goipvs realserver",
	} {
		if got := strings.Join(flagsFirst(strings.Fields(in), c), " "); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", in, got, want)
		}
	}
}

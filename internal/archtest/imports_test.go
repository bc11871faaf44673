package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/goipvs/goipvs"

// allowed is the architecture: a package of ours, and what of ours it may
// import outside its tests. A package that is not here has no right to exist
// yet; give it a row and draw it in docs/architecture.md.
var allowed = map[string][]string{
	"cmd/goipvs":                          {"cmd/goipvs/verbs", "ipvs", "ipvsadm", "ipvsadm/dns", "ipvsadm/socket"},
	"cmd/goipvs-verbs":                    {"cmd/goipvs/verbs", "ipvsadm/dns"},
	"cmd/goipvs/verbs":                    {"config", "config/importer", "director/control", "doctor", "ipvs", "ipvsadm", "ipvsadm/dns", "ipvsadm/socket", "sysctl", "sysctl/realserver", "sysctl/tune", "sysctl/vip"},
	"cmd/goipvsd":                         {"config", "director", "director/control", "director/daemon"},
	"config":                              {"ipvs"},
	"config/importer":                     {"config", "ipvs"},
	"doctor":                              {"internal/dump", "ipvs", "ipvs/procfs", "sysctl", "sysctl/vip"},
	"director":                            {"config", "director/control", "fullnat", "fullnat/snat", "healthcheck", "ipvs"},
	"director/control":                    {},
	"director/alert":                      {"healthcheck"},
	"director/daemon":                     {"config", "director", "director/alert", "director/control", "director/proxy", "director/sourcenat", "director/store", "director/web", "fullnat", "fullnat/snat", "healthcheck", "ipvs", "ipvsadm", "sysctl", "sysctl/tune", "sysctl/vip"},
	"director/sourcenat":                  {"fullnat/snat", "ipvs", "sysctl", "sysctl/tune"},
	"director/proxy":                      {"fullnat", "ipvs"},
	"director/store":                      {},
	"director/web":                        {"director/control", "healthcheck"},
	"contrib/systemd":                     {}, // tests only
	"contrib/prometheus":                  {}, // tests only
	"examples":                            {}, // tests only
	"fullnat":                             {"fullnat/sched", "fullnat/tproxy", "ipvs", "ipvs/procfs"},
	"fullnat/internal/nft":                {},
	"fullnat/snat":                        {"fullnat/internal/nft", "ipvs"},
	"fullnat/sched":                       {"ipvs"},
	"fullnat/tproxy":                      {"fullnat/internal/nft", "ipvs"},
	"healthcheck":                         {},
	"ipvs":                                {"ipvs/internal/wire"},
	"ipvs/internal/wire":                  {},
	"ipvs/ipvstest":                       {"ipvs"},
	"ipvs/procfs":                         {"ipvs"},
	"ipvs/mobyipvs":                       {"ipvs"},
	"ipvs/schedulers":                     {}, // tests only
	"ipvs/traffic":                        {}, // tests only
	"ipvsadm":                             {"ipvs", "ipvs/procfs"},
	"ipvsadm/dns":                         {"ipvs"},
	"ipvsadm/oracle":                      {}, // tests only
	"ipvsadm/socket":                      {"ipvsadm"},
	"internal/archtest":                   {},
	"internal/bench":                      {},
	"internal/bench/checks":               {"healthcheck", "internal/bench"},
	"internal/bench/directors":            {"internal/bench", "internal/lab/boot", "ipvs"},
	"internal/bench/ipvsadm":              {"internal/bench", "internal/lab/boot"},
	"internal/bench/fullnat":              {"fullnat", "fullnat/snat", "internal/bench", "internal/lab/topo", "internal/testserver", "ipvs", "sysctl"},
	"internal/dump":                       {},
	"internal/demo":                       {"internal/lab/topo"},
	"internal/demofullnat":                {"fullnat", "healthcheck", "ipvs"},
	"internal/docgen":                     {"cmd/goipvs/verbs", "config", "ipvsadm"},
	"internal/evil":                       {},
	"internal/lab":                        {"internal/lab/kmod"},
	"internal/lab/boot":                   {"internal/lab", "internal/lab/guest", "internal/lab/job", "internal/lab/kmod"},
	"internal/lab/guest":                  {"internal/lab/job", "internal/lab/kmod"},
	"internal/lab/job":                    {},
	"internal/lab/kmod":                   {},
	"internal/lab/cmd/lab":                {"internal/lab/boot", "internal/lab/guest", "internal/lab/job"},
	"internal/lab/cmd/labshell":           {"internal/lab/topo"},
	"internal/lab/topo":                   {"internal/dump"},
	"internal/lab/topo/topotest":          {"internal/lab", "internal/lab/topo"},
	"internal/testserver":                 {},
	"internal/testserver/cmd/testservers": {"internal/testserver"},
	"sysctl":                              {},
	"sysctl/vip":                          {"internal/dump", "sysctl", "sysctl/record"},
	"sysctl/tune":                         {"sysctl", "sysctl/record"},
	"sysctl/record":                       {},
	"sysctl/realserver":                   {"internal/dump", "sysctl", "sysctl/record", "sysctl/vip"},
}

// outside are the modules that a part of the tree may use. The one-shot CLI is
// started in loops, so what it links is held to the leanest.
var outside = []struct{ tree, module string }{
	{"healthcheck", "github.com/go-asn1-ber/asn1-ber"},
	{"healthcheck", "github.com/go-ldap/ldap/v3"},
	{"healthcheck", "github.com/go-sql-driver/mysql"},
	{"healthcheck", "github.com/jackc/pgx/v5"},
	{"healthcheck", "github.com/miekg/dns"},
	{"healthcheck", "golang.org/x/sys"},
	{"healthcheck", "github.com/prometheus-community/pro-bing"},
	{"healthcheck", "google.golang.org/grpc"},
	{"healthcheck", "layeh.com/radius"},
	{"ipvs", "github.com/vishvananda/netns"},
	{"ipvs", "golang.org/x/sys"},
	{"ipvs/ipvstest", "github.com/google/go-cmp"}, // its suite is test code
	{"ipvs/mobyipvs", "github.com/moby/ipvs"},
	{"ipvsadm", "golang.org/x/sys"},
	{"fullnat", "golang.org/x/sys"},
	{"config", "github.com/BurntSushi/toml"},
	{"doctor", "github.com/vishvananda/netlink"},
	{"doctor", "github.com/google/nftables"},  // reads rulesets
	{"doctor", "github.com/mdlayher/netlink"}, // and rules, which the library cannot all read
	{"doctor", "golang.org/x/sys"},
	{"cmd/goipvs", "golang.org/x/sys"},
	{"cmd/goipvsd", "golang.org/x/sys"},
	{"director", "golang.org/x/sys"},
	{"director/daemon", "github.com/coreos/go-systemd/v22/activation"},
	{"director/sourcenat", "github.com/vishvananda/netlink"},
	{"director/sourcenat", "golang.org/x/sys"},
	{"director/daemon", "github.com/coreos/go-systemd/v22/daemon"},
	{"director/daemon", "github.com/fsnotify/fsnotify"},
	{"director/web", "github.com/prometheus/client_golang/prometheus"},
	{"director/store", "github.com/google/renameio/v2"},
	{"cmd/goipvs", "github.com/urfave/cli/v2"},
	{"sysctl", "github.com/vishvananda/netlink"},
	{"sysctl", "github.com/vishvananda/netns"},
	{"sysctl", "golang.org/x/sys"},
	{"internal/dump", "github.com/vishvananda/netlink"},
	{"internal/lab", "github.com/vishvananda/netlink"},
	{"internal/lab", "github.com/vishvananda/netns"},
	{"internal/lab", "golang.org/x/sys"},
	{"internal/demo", "golang.org/x/sys"},
	{"fullnat/internal/nft", "github.com/google/nftables"},
	{"fullnat/internal/nft", "github.com/mdlayher/netlink"},
	{"fullnat/snat", "github.com/google/nftables"},
	{"fullnat/snat", "github.com/mdlayher/netlink"},
	{"fullnat/tproxy", "github.com/google/nftables"},
	{"fullnat/tproxy", "github.com/mdlayher/netlink"},
	{"internal/demofullnat", "golang.org/x/sys"},
	{"internal/bench/fullnat", "github.com/google/nftables"}, // NAT without IPVS, to compare with
	{"internal/bench", "golang.org/x/sys"},
	{"internal/bench", "github.com/vishvananda/netlink"},
}

// never are packages that must not be linked into a program, whoever imports
// them: the reason is beside each. goipvs_split is the tag of the goipvs that is
// installed; a socket of Unix it has by golang.org/x/sys/unix.
var never = []struct{ program, tags, pkg, why string }{
	{"cmd/goipvs", "", "github.com/moby/ipvs", "it forks modprobe and is lossy; the converters are for library users"},
	{"cmd/goipvs", "", "net/http", "a one-shot command pays for every package's start"},
	{"cmd/goipvs", "", "crypto/tls", "a one-shot command pays for every package's start"},
	{"cmd/goipvs", "", "testing", "test machinery does not ship"},
	{"cmd/goipvs", "goipvs_split", "net", "its start costs as much as all that a one-shot command does (docs/performance.md)"},
	{"cmd/goipvs", "goipvs_split", "encoding/json", "it makes the start 3 % longer, and few commands talk to goipvsd"},
	{"cmd/goipvs", "goipvs_split", "github.com/urfave/cli/v2", "a one-shot command pays for every package's start"},
}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Standard   bool
}

func list(t *testing.T, patterns ...string) (out []pkg) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps,Standard"}, patterns...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	for dec := json.NewDecoder(bytes.NewReader(b)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
}

func TestImports(t *testing.T) {
	for _, p := range list(t, "./...") {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		may, known := allowed[name]
		if !known {
			t.Errorf("package %s is not in the table of the architecture", name)
			continue
		}
		for _, imp := range p.Imports {
			if ours, ok := strings.CutPrefix(imp, module+"/"); ok {
				if !slices.Contains(may, ours) {
					t.Errorf("%s must not import %s", name, ours)
				}
			} else if isModule(imp) && !mayUse(name, imp) {
				t.Errorf("%s must not import %s", name, imp)
			}
		}
		for _, ours := range may {
			if !slices.Contains(p.Imports, module+"/"+ours) {
				t.Errorf("%s no longer imports %s: its row must not allow it", name, ours)
			}
		}
	}
}

func isModule(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

func mayUse(name, imp string) bool {
	for _, o := range outside {
		if within(name, o.tree) && within(imp, o.module) {
			return true
		}
	}
	return false
}

func within(path, tree string) bool { return path == tree || strings.HasPrefix(path, tree+"/") }

func TestProgramsStayLean(t *testing.T) {
	for _, n := range never {
		for _, p := range list(t, "-tags="+n.tags, "./"+n.program) {
			for _, d := range p.Deps {
				if d == n.pkg || n.pkg != "net" && within(d, n.pkg) { // net/netip is no part of net
					t.Errorf("%s links %s: %s", n.program, d, n.why)
				}
			}
		}
	}
}

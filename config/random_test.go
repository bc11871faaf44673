package config_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
)

// Every configuration that can be, printed and loaded, is itself again.
func TestRoundTripOfRandomConfigurations(t *testing.T) {
	n := 200
	if testing.Short() {
		n = 100
	}
	for seed := range uint64(n) {
		g := random{rand.New(rand.NewPCG(seed, 1))}
		c := g.config()
		text := config.Print(c)
		again, err := config.Parse("printed.toml", text, config.Options{})
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		if diff := cmp.Diff(c, again, same); diff != "" {
			t.Fatalf("seed %d (-made +loaded):\n%s\n%s", seed, diff, text)
		}
	}
}

type random struct{ *rand.Rand }

func pick[T any](g random, list ...T) T { return list[g.IntN(len(list))] }

func (g random) maybe() bool { return g.IntN(2) == 0 }

func (g random) word() string {
	return pick(g, "", "a", "x y", `"`, `'`, `\`, "ü", "${X}", "a#b", "\u202e", "]]")
}

func (g random) seconds(most int) time.Duration { return time.Duration(1+g.IntN(most)) * time.Second }

func (g random) config() *config.Config {
	c := config.Default()
	if g.maybe() {
		c.HTTP, c.LogLevel, c.Autoreload = "[::1]:9182", "debug", true
		c.OnStop, c.OnDrift, c.WithoutIPVS = config.StopDrain, config.DriftReport, config.WithoutFullNAT
		c.MaxRemoval, c.HoldOnMassFailure, c.Reconcile = g.Float64(), 1, g.seconds(60)
		c.UpgradeDrain = g.seconds(99)
		c.MaintenanceDir = "/x/" + strings.Map(plain, g.word())
		c.Alert = config.Alert{On: []string{"up"}, Command: []string{"/bin/a", g.word()}, Webhook: "http://a/${b", MailTo: []string{"a@b"}, SMTP: "h:25", Repeat: g.seconds(9)}
		c.Timeouts.UDP = g.seconds(99)
		c.Sync = []ipvs.Daemon{{State: ipvs.Master, Interface: "eth0", SyncID: 7, Group: netip.MustParseAddr("224.0.0.99")}}
	}
	c.Policy, c.Check = g.policy(), g.timing()
	for i := range g.IntN(4) {
		c.Virtuals = append(c.Virtuals, g.virtual(c, i))
	}
	return c
}

func plain(r rune) rune {
	if r < ' ' || r == '\u202e' {
		return 'x'
	}
	return r
}

func (g random) policy() config.Policy {
	return config.Policy{Quiescent: g.maybe(), Drain: g.seconds(9), SlowStart: g.seconds(9), Unchecked: pick(g, config.UncheckedUp, config.UncheckedDown)}
}

func (g random) timing() config.Timing {
	return config.Timing{Interval: g.seconds(99), Timeout: time.Duration(1+g.IntN(9999)) * time.Millisecond, Rise: 1 + g.IntN(9), Fall: 1 + g.IntN(9),
		FastInterval: pick(g, 0, g.seconds(5)), Jitter: float64(g.IntN(101)) / 100}
}

func (g random) virtual(c *config.Config, i int) config.Virtual {
	v := config.Virtual{Quorum: 1 + g.IntN(5), Policy: pick(g, c.Policy, g.policy()), Forward: pick(g, ipvs.NAT, ipvs.DirectRoute, ipvs.Tunnel, ipvs.FullNAT)}
	v.Service = g.service(i)
	v.Name = pick(g, config.DefaultName(v.Service.ServiceKey), fmt.Sprint("n ", i, strings.Map(plain, g.word())))
	if v.Forward == ipvs.FullNAT {
		v.FullNAT = config.NewFullNAT()
		if v.FullNAT.Asked.Retries = g.IntN(2) == 0; v.FullNAT.Asked.Retries {
			v.FullNAT.Retries = g.IntN(5)
		}
		v.FullNAT.MaxConnections, v.FullNAT.CutRemoved = pick(g, 0, 9), g.maybe()
		v.FullNAT.Notrack = g.IntN(4) == 0 && v.Service.FWMark == 0 && v.Port() != 0
		for n := range g.IntN(6) {
			v.FullNAT.Local = append(v.FullNAT.Local, netip.AddrFrom4([4]byte{10, 9, 0, byte(1 + n + n/3)}))
		}
	}
	if g.maybe() {
		v.FallbackCommand = []string{"/bin/f", g.word()}
	}
	for range 1 + g.IntN(3) {
		v.Checks = append(v.Checks, g.check(c.Check))
	}
	for n := range g.IntN(4) {
		v.Reals = append(v.Reals, g.real(&v, n))
	}
	for n := range g.IntN(3) {
		s := g.real(&v, n)
		s.Weight, s.Upper, s.Lower, s.Checks = 1, 0, 0, nil
		v.Fallback = append(v.Fallback, s)
	}
	return v
}

func (g random) service(i int) (s ipvs.Service) {
	s.Scheduler = pick(g, "sh", "mh", "wlc", "other_1")
	s.Flags = pick(g, 0, ipvs.Sched1, ipvs.Sched1|ipvs.Sched2, ipvs.Sched3, ipvs.SchedFlags)
	proto := pick(g, ipvs.TCP, ipvs.UDP, ipvs.SCTP)
	switch f := pick(g, ipvs.IPv4, ipvs.IPv6); {
	case g.IntN(4) == 0:
		s.ServiceKey = ipvs.MarkService(uint32(1+i), f)
	case f == ipvs.IPv4:
		s.ServiceKey = ipvs.AddrService(proto, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)}), 80))
	default:
		s.ServiceKey = ipvs.AddrService(proto, netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", 1+i)), 80))
	}
	if g.maybe() {
		s.Flags |= ipvs.Persistent
		s.Timeout = g.seconds(9999)
		s.Netmask, _ = ipvs.PrefixMask(s.AF(), 1+g.IntN(32))
		if s.Protocol == ipvs.UDP {
			s.PE = pick(g, "", "sip")
		}
	}
	if s.Protocol == ipvs.UDP && g.maybe() {
		s.Flags |= ipvs.OnePacket
	}
	return s
}

func (g random) real(v *config.Virtual, n int) config.Real {
	s := config.Real{Weight: int32(g.IntN(65536)), Method: v.Forward, Port: v.Port()}
	if v.Forward != ipvs.FullNAT {
		s.Method = pick(g, v.Forward, ipvs.NAT, ipvs.Tunnel)
	}
	if s.Method == ipvs.NAT || s.Method == ipvs.FullNAT {
		s.Port = pick(g, s.Port, 8080)
	}
	if s.Method == ipvs.Tunnel {
		s.Encap = pick(g, ipvs.Encap{}, ipvs.Encap{Type: ipvs.GUE, Port: 6080, Flags: ipvs.RemCsum}, ipvs.Encap{Type: ipvs.GRE, Flags: ipvs.Csum})
	}
	switch {
	case g.maybe():
		s.Host = fmt.Sprintf("host-%d.example.com", n)
	case v.Family() == ipvs.IPv4:
		s.Addr = netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + n)})
	default:
		s.Addr = netip.MustParseAddr(fmt.Sprintf("2001:db8:1::%x", 1+n))
	}
	if s.Upper = uint32(g.IntN(99)); g.maybe() {
		s.Lower = s.Upper / 2
	}
	for _, ch := range v.Checks {
		if g.IntN(3) == 0 {
			ch = g.check(ch.Timing)
		}
		s.Checks = append(s.Checks, ch)
	}
	return s
}

func (g random) check(t config.Timing) config.Check {
	typ := pick(g, config.CheckTypes()...)
	c := config.NewCheck(typ.Name, pick(g, t, g.timing()))
	for _, k := range typ.Keys {
		if g.maybe() {
			g.checkKey(&c, k)
		}
	}
	if slices.Contains(typ.Keys, "login") && c.Login == "" && c.Password != "" || typ.Name == "mysql" || typ.Name == "pgsql" {
		c.Login = "someone"
	}
	if c.Login != "" && c.Password == "" && slices.Contains(typ.Keys, "password") {
		c.Password = "pass"
	}
	switch typ.Name {
	case "external":
		c.Command = []string{"/bin/c", g.word()}
	case "dns", "ftp":
		c.Request = "x"
	case "http_proxy":
		c.Request = "https://x/"
	case "ldap", "ldaps":
		c.Request = "cn=x"
	case "imap", "imaps", "sip":
		c.Request = ""
	case "radius":
		c.Secret = "s"
	case "connect", "tcp", "udp":
		c.Port = 99
	}
	return c
}

func (g random) checkKey(c *config.Check, key string) {
	switch key {
	case "request":
		c.Request = g.word()
	case "receive":
		c.Receive = pick(g, "", `^a\d+"'$`, ".*")
	case "status":
		c.Status = pick(g, "200-299", "204,300-399")
	case "virtualhost":
		c.VirtualHost = "www.example.com:81"
	case "follow":
		c.Follow = g.IntN(4)
	case "login":
		c.Login = pick(g, "a", "${b}", "$${c", `"`)
	case "password":
		c.Password = config.Secret(pick(g, "a", "${b}", "$", `'"`))
	case "database":
		c.Database = "db"
	case "record":
		c.Record = pick(g, "A", "MX")
	case "protocol":
		if c.Protocol = pick(g, "tcp", "udp"); c.Type == "connect" {
			c.Protocol = pick(g, "tcp", "sctp")
		}
	case "verify":
		c.Verify = g.maybe()
	case "ca":
		if c.TLS != config.TLSOff && c.TLS != "" {
			c.CA = "/ca.pem"
		}
	case "expiry_warning":
		c.ExpiryWarning = pick(g, 0, 36*time.Hour, 14*24*time.Hour)
	}
}

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

var daemonKeys = []key[Config]{
	textKey("control", `"/run/goipvs/goipvs.sock"`, "Unix socket of `goipvs status`, `drain` and the others; its mode is 0660.",
		func(c *Config) *string { return &c.Control }, socketPath),
	textKey("control_group", `"goipvs"`, "Group that may use the verbs that only read. The others need root or the daemon's user.",
		func(c *Config) *string { return &c.ControlGroup }, word),
	textKey("state_dir", `"/var/lib/goipvs"`, "Where what operators ordered (drain, maintenance, weights) and the table of full NAT outlive a restart.",
		func(c *Config) *string { return &c.StateDir }, absolute),
	textKey("http", `""`, "Address of the read-only web listener, such as \"127.0.0.1:9182\": `/metrics`, `/status.json` and a page. Empty: none.",
		func(c *Config) *string { return &c.HTTP }, listener),
	choiceKey("log_level", `"info"`, "What is logged: `debug`, `info`, `warn` or `error` and worse.",
		func(c *Config) *string { return &c.LogLevel }, "debug", "info", "warn", "error"),
	choiceKey("log_format", `"text"`, "`text` or `json`.",
		func(c *Config) *string { return &c.LogFormat }, "text", "json"),
	boolKey("autoreload", "false", "Reload when the file, or one that it includes, changes on disk (ldirectord's `autoreload`).",
		func(c *Config) *bool { return &c.Autoreload }),
	choiceKey("on_stop", `"keep"`, "What becomes of the services, and of the daemons of `[sync]`, when the daemon stops: `keep` leaves them, `flush` removes them (ldirectord's `cleanstop=yes`), `drain` removes them once they are idle, at the latest after their `drain`, if they have one.",
		func(c *Config) *OnStop { return &c.OnStop }, StopKeep, StopFlush, StopDrain),
	spanKey("upgrade_drain", `"1h"`, "How long, after an upgrade by `goipvsd upgrade`, the old process keeps the connections of full NAT that it has. Then they are cut.",
		func(c *Config) *time.Duration { return &c.UpgradeDrain }, 0, 30*day),
	spanKey("reconcile", `"1s"`, "How soon the kernel's table is put right when somebody else changed it. \"0s\": never.",
		func(c *Config) *time.Duration { return &c.Reconcile }, 0, time.Hour),
	choiceKey("on_drift", `"repair"`, "What is done about such changes: `repair` undoes them, `report` only tells of them.",
		func(c *Config) *OnDrift { return &c.OnDrift }, DriftRepair, DriftReport),
	shareKey("max_removal", "0.5", "A reload that would remove more than this share of the services needs `goipvs reload --force`.",
		func(c *Config) *float64 { return &c.MaxRemoval }),
	shareKey("hold_on_mass_failure", "0.8", "When more than this share of all real servers fails within one interval, the last state is kept: the director's own network is the likelier cause. 1: never.",
		func(c *Config) *float64 { return &c.HoldOnMassFailure }),
	choiceKey("without_ipvs", `"fail"`, "On a kernel without IPVS: `fail` stops with an error, `fullnat` runs NAT services as full NAT in user space.",
		func(c *Config) *WithoutIPVS { return &c.WithoutIPVS }, WithoutFail, WithoutFullNAT),
	textKey("maintenance_dir", `""`, "Folder in which a file named ADDRESS or ADDRESS:PORT takes that real server out (ldirectord's `maintenancedir`). Empty: none.",
		func(c *Config) *string { return &c.MaintenanceDir }, absolute),
	textKey("command_user", `""`, "User that commands of checks, alerts, `notify_up`, `notify_down` and `fallback_command` run as, with a group behind a colon if it is not the user's (keepalived's `script_user`). Empty: the daemon's. Another one takes CAP_SETUID, CAP_SETGID and CAP_KILL.",
		func(c *Config) *string { return &c.CommandUser }, word),
	listKey("include", "[]", "Patterns of further files, such as \"conf.d/*.toml\", from this file's folder. They may hold `[[virtual]]` only, and are read in the order of the patterns, then of their names.",
		func(c *Config) *[]string { return &c.Include }, pattern),
}

var policyKeys = []key[Policy]{
	boolKey("quiescent", "true", "A failed server gets weight 0 and keeps its connections; false: it is removed.",
		func(p *Policy) *bool { return &p.Quiescent }),
	spanKey("drain", `"0s"`, "A server that leaves the file or is removed gets weight 0 first, and is deleted when it is idle, at the latest after this time.",
		func(p *Policy) *time.Duration { return &p.Drain }, 0, 30*day),
	spanKey("slow_start", `"0s"`, "A server that comes back climbs to its weight over this time.",
		func(p *Policy) *time.Duration { return &p.SlowStart }, 0, day),
	choiceKey("unchecked", `"down"`, "What a server counts as before its first check has ended: `down`, it is not in the table; or `up`.",
		func(p *Policy) *Unchecked { return &p.Unchecked }, UncheckedDown, UncheckedUp),
}

var timingKeys = []key[Timing]{
	spanKey("interval", `"10s"`, "Time from check to check.",
		func(t *Timing) *time.Duration { return &t.Interval }, 10*time.Millisecond, day),
	spanKey("timeout", `"5s"`, "Time for a whole check, connecting and TLS included.",
		func(t *Timing) *time.Duration { return &t.Timeout }, time.Millisecond, time.Hour),
	intKey("rise", "1", "Successes in a row until a server is up.",
		func(t *Timing) *int { return &t.Rise }, 1, 1000),
	intKey("fall", "1", "Failures in a row until a server is down (ldirectord's `failurecount`).",
		func(t *Timing) *int { return &t.Fall }, 1, 1000),
	spanKey("fast_interval", `""`, "Interval between the first failure and the verdict. Empty: `interval`.",
		func(t *Timing) *time.Duration { return &t.FastInterval }, 10*time.Millisecond, day),
	shareKey("jitter", "0.05", "Share of the interval by which checks vary. First checks are spread over one interval.",
		func(t *Timing) *float64 { return &t.Jitter }),
}

var alertKeys = []key[Alert]{
	listKey("on", quoteList(usualEvents()), "Events that are told. Besides these there are `service`: one that goes down, or is up again, whatever the reason, the kernel's refusal included; and `kernel`: its IPVS cannot be reached, or can be again.",
		func(a *Alert) *[]string { return &a.On }, func(s string) error { return oneOf(s, Events()) }),
	listKey("command", "[]", "Program and arguments, run for each event with GOIPVS_EVENT (a word of `on`), GOIPVS_NAME (the event's name, which tells the beginning of a fallback or mass failure from its end), GOIPVS_VIRTUAL, GOIPVS_REAL and GOIPVS_REASON in its environment; without a shell.",
		func(a *Alert) *[]string { return &a.Command }, nil),
	secretKey("webhook", `""`, "URL that gets the event as JSON by POST.",
		func(a *Alert) *Secret { return &a.Webhook }, webURL),
	listKey("mail_to", "[]", "Who gets mail.",
		func(a *Alert) *[]string { return &a.MailTo }, mailbox),
	textKey("mail_from", `""`, "Sender of the mail.",
		func(a *Alert) *string { return &a.MailFrom }, mailbox),
	textKey("smtp", `""`, "HOST:PORT of the mail server.",
		func(a *Alert) *string { return &a.SMTP }, hostPort),
	textKey("smtp_ca", `""`, "File of the authorities that the mail server's certificate is verified by, when it offers STARTTLS. Empty: the system's, and servers on loopback need none.",
		func(a *Alert) *string { return &a.SMTPCA }, absolute),
	textKey("smtp_login", `""`, "User who logs in to the mail server (PLAIN or LOGIN), only inside TLS. Empty: nobody.",
		func(a *Alert) *string { return &a.SMTPLogin }, nil),
	textKey("smtp_password_file", `""`, "File that holds the user's password and nothing else; others must not be able to read it.",
		func(a *Alert) *string { return &a.SMTPPasswordFile }, absolute),
	textKey("smtp_cert", `""`, "File of the certificate that we show to the mail server, only inside TLS. Empty: none.",
		func(a *Alert) *string { return &a.SMTPCert }, absolute),
	textKey("smtp_key", `""`, "File of its key. Empty: in the file of `smtp_cert`.",
		func(a *Alert) *string { return &a.SMTPKey }, absolute),
	spanKey("repeat", `"0s"`, "Told again after this time for as long as it lasts (ldirectord's `emailalertfreq`). \"0s\": once.",
		func(a *Alert) *time.Duration { return &a.Repeat }, 0, 30*day),
}

var timeoutKeys = []key[ipvs.Timeouts]{
	spanKey("tcp", "", "Of an idle TCP connection; \"900s\" is the kernel's own.",
		func(t *ipvs.Timeouts) *time.Duration { return &t.TCP }, time.Second, 30*day),
	spanKey("tcp_fin", "", "Of a TCP connection after a FIN; \"120s\" is the kernel's own.",
		func(t *ipvs.Timeouts) *time.Duration { return &t.TCPFin }, time.Second, 30*day),
	spanKey("udp", "", "Of UDP after a packet; \"300s\" is the kernel's own.",
		func(t *ipvs.Timeouts) *time.Duration { return &t.UDP }, time.Second, 30*day),
}

// rawSync is [sync]: one block for all states.
type rawSync struct {
	states    []string
	iface     string
	id        int
	maxLen    int
	group     string
	port, ttl int
}

var syncKeys = []key[rawSync]{
	listKey("state", `[]`, "`master` sends connections, `backup` receives them; both may be named.",
		func(s *rawSync) *[]string { return &s.states }, func(s string) error { return oneOf(s, []string{"master", "backup"}) }),
	textKey("interface", `""`, "Interface of the multicast.",
		func(s *rawSync) *string { return &s.iface }, ifaceName),
	intKey("id", "0", "Number of the pair; a backup with 0 takes what any master sends.",
		func(s *rawSync) *int { return &s.id }, 0, 255),
	intKey("maxlen", "0", "Largest packet in bytes. 0: by the interface's MTU.",
		func(s *rawSync) *int { return &s.maxLen }, 0, 65507),
	textKey("group", `""`, "Multicast group. Empty: the kernel's 224.0.0.81.",
		func(s *rawSync) *string { return &s.group }, multicast),
	intKey("port", "0", "UDP port. 0: the kernel's 8848.",
		func(s *rawSync) *int { return &s.port }, 0, 65535),
	intKey("ttl", "0", "Time to live of the multicast. 0: the kernel's 1.",
		func(s *rawSync) *int { return &s.ttl }, 0, 255),
}

func (s *rawSync) daemons() (out []ipvs.Daemon) {
	for _, name := range []string{"master", "backup"} {
		for _, st := range s.states {
			if st != name {
				continue
			}
			d := ipvs.Daemon{Interface: s.iface, SyncID: uint32(s.id), MaxLen: uint16(s.maxLen), Port: uint16(s.port), TTL: uint8(s.ttl)}
			_ = d.State.UnmarshalText([]byte(name)) // oneOf has seen to it
			d.Group, _ = netip.ParseAddr(s.group)   // so has multicast
			out = append(out, d)
			break
		}
	}
	return out
}

// rawSyncOf is the block that gives these daemons, if there is one for all.
func rawSyncOf(list []ipvs.Daemon) (s rawSync) {
	for _, d := range list {
		s.states = append(s.states, d.State.String())
		s.iface, s.id, s.maxLen, s.port, s.ttl = d.Interface, int(d.SyncID), int(d.MaxLen), int(d.Port), int(d.TTL)
		if s.group = ""; d.Group.IsValid() {
			s.group = d.Group.String()
		}
	}
	return s
}

func absolute(s string) error {
	if !filepath.IsAbs(s) {
		return errors.New("want a path that begins with /, found " + quote(clip(s)))
	}
	return printable(s)
}

// socketPath is a path that fits into the kernel's sockaddr_un.
func socketPath(s string) error {
	const most = 107
	if len(s) > most {
		return fmt.Errorf("%s has %d bytes, and a socket's path at most %d", quote(clip(s)), len(s), most)
	}
	return absolute(s)
}

func word(s string) error {
	if strings.ContainsAny(s, " \t") {
		return errors.New(quote(clip(s)) + " has a blank")
	}
	return printable(s)
}

func printable(s string) error {
	if strings.ContainsFunc(s, control) {
		return errors.New(quote(clip(s)) + " has characters that cannot be seen")
	}
	return nil
}

func listener(s string) error {
	if strings.HasPrefix(s, ":") {
		s = "0.0.0.0" + s
	}
	return hostPort(s)
}

func hostPort(s string) error {
	e, err := parseEndpoint(s)
	switch {
	case err != nil:
		return err
	case !e.hasPort:
		return hinted{errors.New(quote(clip(s)) + " has no port"), `write "` + s + `:PORT"`}
	case e.first != e.last:
		return errors.New(quote(clip(s)) + " is a range")
	}
	return nil
}

func pattern(s string) error {
	if _, err := filepath.Match(s, ""); err != nil {
		return errors.New("bad pattern " + quote(clip(s)))
	}
	return printable(s)
}

func mailbox(s string) error {
	if strings.ContainsAny(s, " \t<>,;\"") || strings.Count(s, "@") > 1 || strings.HasPrefix(s, "@") || strings.HasSuffix(s, "@") {
		return hinted{errors.New("bad mail address " + quote(clip(s))), "only user@host, without a name"}
	}
	return printable(s)
}

func webURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return hinted{errors.New("bad URL"), "it begins with http:// or https://"} // not shown: it may hold a token
	}
	return nil
}

func ifaceName(s string) error {
	if len(s) > 15 || s == "." || s == ".." || strings.ContainsAny(s, "/ \t:") {
		return errors.New("bad name of an interface " + quote(clip(s)))
	}
	return printable(s)
}

func multicast(s string) error {
	if a, err := netip.ParseAddr(s); err != nil || !a.IsMulticast() || a.Zone() != "" {
		return errors.New(quote(clip(s)) + " is no multicast address")
	}
	return nil
}

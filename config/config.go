package config

import (
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Config is a checked configuration. Its values are never changed after Load;
// several goroutines may read it.
type Config struct {
	Control      string // unix socket of the control protocol
	ControlGroup string // group that may use the read verbs; empty: none
	StateDir     string // operator overrides and what must survive a restart
	HTTP         string // host:port of the read-only listener; empty: none
	LogLevel     string // debug, info, warn, error
	LogFormat    string // text, json
	Autoreload   bool   // reload when one of Files changes
	OnStop       OnStop
	UpgradeDrain time.Duration // how long the process before an upgrade keeps its connections
	Reconcile    time.Duration // how soon drift is repaired; 0: never
	OnDrift      OnDrift
	// MaxRemoval is the share of the services, 0 to 1, that a reload may remove
	// without being forced.
	MaxRemoval float64
	// HoldOnMassFailure is the share of all real servers that must fail within
	// one interval for the last state to be kept; 1: never.
	HoldOnMassFailure float64
	WithoutIPVS       WithoutIPVS
	MaintenanceDir    string // ldirectord's maintenancedir; empty: none
	CommandUser       string // USER or USER:GROUP that commands run as; empty: the daemon's

	Policy   Policy // of services that set none of their own
	Check    Timing // of checks that set none of their own
	Alert    Alert
	Timeouts ipvs.Timeouts // zeros keep the kernel's
	Sync     []ipvs.Daemon // one for each state; empty: none

	Virtuals []Virtual

	// Lines are those of the daemon's own keys in the main file, by name; keys that
	// are not there have none.
	Lines map[string]int
	// Include are the patterns of further files, as written. Virtuals holds
	// what they brought.
	Include []string
	// Files are all files that were read, the main one first. Password files
	// are among them.
	Files []string
	// Sums are of the contents of Files as they were read: what is on disk now
	// may be newer.
	Sums map[string]Sum
	// Warnings are findings that do not keep the configuration from working.
	Warnings []Problem
}

// OnStop is what becomes of the services when the daemon stops.
type OnStop string

// Keep leaves them as they are, Flush removes them, Drain waits until they are
// idle and removes them then.
const (
	StopKeep  OnStop = "keep"
	StopFlush OnStop = "flush"
	StopDrain OnStop = "drain"
)

// OnDrift is what is done about a kernel table that somebody else changed.
type OnDrift string

// The ways to meet drift.
const (
	DriftRepair OnDrift = "repair"
	DriftReport OnDrift = "report"
)

// WithoutIPVS is what a kernel without IPVS means to the daemon.
type WithoutIPVS string

// Fail stops with an error, FullNAT runs NAT services in user space.
const (
	WithoutFail    WithoutIPVS = "fail"
	WithoutFullNAT WithoutIPVS = "fullnat"
)

// Policy is how real servers come and go. A service may have its own.
type Policy struct {
	Quiescent bool          // a failed server gets weight 0; false: it is removed
	Drain     time.Duration // how long a removed server may finish its connections
	SlowStart time.Duration // how long a server that comes back takes to its weight
	Unchecked Unchecked
}

// Unchecked is what a server counts as before its first check has ended.
type Unchecked string

// The verdicts before a verdict.
const (
	UncheckedDown Unchecked = "down"
	UncheckedUp   Unchecked = "up"
)

// Alert is who hears of events, and of which.
type Alert struct {
	On       []string // names of Events
	Command  []string // argv; empty: none
	Webhook  Secret   // URL; may carry a token
	MailTo   []string
	MailFrom string
	SMTP     string // host:port
	SMTPCA   string // file of authorities; empty: the system's
	// SMTPLogin and SMTPPassword, of SMTPPasswordFile, are said to the mail server;
	// empty: it wants none.
	SMTPLogin        string
	SMTPPassword     Secret
	SMTPPasswordFile string
	SMTPCert         string        // file of our certificate for the mail server; empty: none
	SMTPKey          string        // and of its key; empty: in SMTPCert
	Repeat           time.Duration // while it lasts; 0: once
}

// Events are the words that [Alert].On may hold.
func Events() []string { return append(usualEvents(), "service", "kernel") }

// usualEvents are those of the default, in its order.
func usualEvents() []string {
	return []string{"down", "up", "fallback", "drift", "reload_failed", "mass_failure"}
}

// Default is what an empty file means.
func Default() *Config {
	c := new(Config)
	setDefaults(daemonKeys, c)
	setDefaults(policyKeys, &c.Policy)
	setDefaults(timingKeys, &c.Check)
	setDefaults(alertKeys, &c.Alert)
	return c
}

package director

import "log/slog"

// kind makes a kind of event known: Kinds lists them in this order.
func kind(name string, level Level, brief, alert string) *EventKind {
	k := &EventKind{name, level, brief, alert}
	kinds = append(kinds, k)
	return k
}

var kinds []*EventKind

// Kinds lists all kinds of events there are.
func Kinds() []*EventKind { return kinds }

const (
	debug = slog.LevelDebug
	info  = slog.LevelInfo
	warn  = slog.LevelWarn
	fault = slog.LevelError
)

// The daemon as a whole.
var (
	Started        = kind("started", info, "started", "")
	Stopping       = kind("stopping", info, "stopping", "")
	Stopped        = kind("stopped", info, "stopped", "")
	ConfigWarning  = kind("config_warning", warn, "configuration warning", "")
	Reloaded       = kind("reloaded", info, "configuration reloaded", "")
	OrphansKept    = kind("orphans_kept", warn, "too many services left the file since the last run, they stay as they are", "")
	Upgrading      = kind("upgrading", info, "an upgrade begins", "")
	Upgraded       = kind("upgraded", info, "the new process has taken over", "")
	UpgradeFailed  = kind("upgrade_failed", fault, "the upgrade failed, this process goes on", "")
	UpgradeDrained = kind("upgrade_drained", info, "the connections from before the upgrade are over", "")
	Orphaned       = kind("upgrade_orphaned", warn, "the process before has died, this one goes on", "")
	StoreFailed    = kind("fdstore_failed", warn, "systemd cannot keep the listening sockets", "")
	ReloadFailed   = kind("reload_failed", fault, "reload failed, the old configuration stays", "reload_failed")
	KernelLost     = kind("kernel_lost", fault, "the kernel's IPVS cannot be reached", "kernel")
	KernelBack     = kind("kernel_back", info, "the kernel's IPVS can be reached again", "kernel")
	KernelChanged  = kind("kernel_changed", debug, "kernel changed", "")
	KernelRefused  = kind("kernel_refused", fault, "the kernel refused a change", "")
	Unsettled      = kind("unsettled", warn, "others kept changing the table, removals wait", "")
	HoldBegan      = kind("mass_failure", fault, "nearly all servers failed at once, the last state is kept", "mass_failure")
	HoldEnded      = kind("mass_failure_over", info, "the mass failure is over or believed", "mass_failure")
	StateLost      = kind("state_lost", fault, "the state file is unreadable and was set aside", "")
	StateUnsaved   = kind("state_unsaved", fault, "the state file cannot be written, overrides will not survive a restart", "")
	StateSaved     = kind("state_saved", info, "the state file can be written again", "")
	TimeoutsSet    = kind("timeouts_set", info, "connection timeouts set", "")
	SyncStarted    = kind("sync_started", info, "sync daemon started", "")
	SyncStopped    = kind("sync_stopped", info, "sync daemon stopped", "")
	AlertFailed    = kind("alert_failed", warn, "an alert could not be delivered", "")
	AlertDropped   = kind("alert_dropped", warn, "too many alerts are waiting, some were dropped", "")
	RequestMade    = kind("request", info, "request on the control socket", "")
	RequestDenied  = kind("request_denied", warn, "request on the control socket refused", "")
	ControlRemade  = kind("control_remade", warn, "the control socket was removed by somebody and is made anew", "")
	ControlFailed  = kind("control_failed", fault, "the control socket cannot be reached, services run on", "")
	StatusLogged   = kind("status", info, "status", "")
)

// Services.
var (
	ServiceUp      = kind("service_up", info, "service up", "service")
	ServiceDown    = kind("service_down", fault, "service down", "service")
	ServiceAdded   = kind("service_added", info, "service added", "")
	ServiceLeaving = kind("service_leaving", info, "service leaves the file, its connections are drained", "")
	ServiceRemoved = kind("service_removed", info, "service removed", "")
	FallbackOn     = kind("fallback_on", warn, "fallback in use", "fallback")
	FallbackOff    = kind("fallback_off", info, "fallback no longer in use", "fallback")
	CommandFailed  = kind("command_failed", warn, "a command failed", "")
	Drift          = kind("drift", warn, "the kernel's table was changed by somebody else", "drift")
	PlaneChosen    = kind("plane", info, "where full NAT of the service runs", "")
	ServiceRefused = kind("service_refused", fault, "the service cannot be served on this machine", "")
	ConnectionsEnd = kind("connections_end", warn, "established connections of the service end", "")
	VIPAdded       = kind("vip_added", info, "virtual address added", "")
	VIPRemoved     = kind("vip_removed", info, "virtual address removed", "")
	VIPFailed      = kind("vip_failed", fault, "virtual address could not be set up", "")
	LocalAccepted  = kind("local_accepted", info, "answers from virtual addresses are let in, for checks by the path", "")
	LocalRefused   = kind("local_refused", info, "answers from virtual addresses are no longer let in", "")
	LocalFailed    = kind("local_failed", fault, "answers from virtual addresses cannot be let in, checks by the path will fail", "")
)

// Real servers.
var (
	ServerUp       = kind("server_up", info, "real server up", "up")
	ServerDown     = kind("server_down", warn, "real server down", "down")
	ServerUnknown  = kind("server_unknown", warn, "real server cannot be checked, nothing is changed", "")
	ServerAdopted  = kind("server_adopted", info, "real server adopted from the kernel", "")
	ServerAdded    = kind("server_added", info, "real server added to the service", "")
	ServerRemoved  = kind("server_removed", info, "real server removed from the service", "")
	ServerDrained  = kind("server_drained", info, "real server drained: its last connection is over", "")
	ServerOverride = kind("server_override", info, "an operator's word on a real server", "")
	ServerEnabled  = kind("server_enabled", info, "an operator's word on a real server ended", "")
	Maintenance    = kind("server_maintenance", info, "a maintenance file takes a real server out", "")
	MaintenanceEnd = kind("server_maintenance_over", info, "the maintenance file is gone", "")
	CheckWarning   = kind("check_warning", warn, "a check passed with a warning", "")
	WeightSaid     = kind("weight_said", info, "a check says another weight", "")
	AddressChanged = kind("address_changed", info, "a host name has another address", "")
	ResolveFailed  = kind("resolve_failed", warn, "a host name cannot be resolved, the last address is kept", "")
)

package ipvsadm

import "math/bits"

// A column is an option, or several that exclude each other, as the matrix of
// commands and options knows it. The order is that in which they are checked.
type column uint8

const (
	colNumeric column = iota
	colConnection
	colService
	colScheduler
	colPersistent
	colNetmask
	colServer
	colForward
	colWeight
	colUpper
	colLower
	colMcastInterface
	colTimeout
	colDaemon
	colStats
	colRate
	colThresholds
	colPersistentConn
	colNoSort
	colSyncID
	colExact
	colOnePacket
	colEngine
	colSchedFlags
	colMcastGroup
	colMcastPort
	colMcastTTL
	colMaxLen
	colTunInfo
	colTunType
	colTunPort
	colTunNoCsum
	colTunCsum
	colTunRemCsum
	// Ours.
	colJSON
	colEnsure
	colLocal
	colFullNAT
	colProxy
	colPlane
	colSynProxy

	columnCount
	colNone // -6 and --sort: may be repeated, in no matrix
)

var columnNames = [columnCount]string{
	"numeric", "connection", "service-address", "scheduler", "persistent", "netmask",
	"real-server", "forwarding-method", "weight", "u-threshold", "l-threshold",
	"mcast-interface", "timeout", "daemon", "stats", "rate", "thresholds",
	"persistent-conn", "nosort", "syncid", "exact", "ops", "pe", "sched-flags",
	"mcast-group", "mcast-port", "mcast-ttl", "sync-maxlen", "tun-info", "tun-type",
	"tun-port", "tun-nocsum", "tun-csum", "tun-remcsum",
	"json", "ensure", "local-address", "fullnat", "proxy-protocol", "plane", "synproxy",
}

// columns is a set of columns.
type columns uint64

func (c column) set() columns        { return 1 << c }
func (s columns) has(c column) bool  { return c < columnCount && s&c.set() != 0 }
func (s columns) any(o columns) bool { return s&o != 0 }
func (s *columns) add(c column)      { *s |= c.set() }
func (s columns) first() column      { return column(bits.TrailingZeros64(uint64(s))) }

// A row says which options a command or tunnel type takes; what is in no field
// is illegal with it.
type row struct {
	name string  // in messages
	must columns // compulsory
	may  columns
	one  columns // at most one of these
}

const (
	svcOptions = 1<<colScheduler | 1<<colPersistent | 1<<colNetmask | 1<<colOnePacket | 1<<colEngine | 1<<colSchedFlags | 1<<colEnsure |
		1<<colFullNAT | 1<<colProxy | 1<<colPlane | 1<<colSynProxy
	csumOptions   = 1<<colTunNoCsum | 1<<colTunCsum | 1<<colTunRemCsum
	tunOptions    = 1<<colTunType | 1<<colTunPort | csumOptions
	rsOptions     = 1<<colForward | 1<<colWeight | 1<<colUpper | 1<<colLower | tunOptions | 1<<colEnsure
	daemonOptions = 1<<colMcastInterface | 1<<colSyncID | 1<<colMcastGroup | 1<<colMcastPort | 1<<colMcastTTL | 1<<colMaxLen
	viewOptions   = 1<<colStats | 1<<colRate | 1<<colThresholds | 1<<colPersistentConn | 1<<colTunInfo
	service       = 1 << colService
	server        = 1<<colService | 1<<colServer
)

// commandRows is the matrix of commands and options.
var commandRows = [...]row{
	ActionAddService:    {name: "add-service", must: service, may: svcOptions},
	ActionEditService:   {name: "edit-service", must: service, may: svcOptions},
	ActionDeleteService: {name: "delete-service", must: service, may: 1<<colEnsure | 1<<colFullNAT},
	ActionFlush:         {name: "flush"},
	ActionList: {name: "list", may: viewOptions | 1<<colNumeric | 1<<colNoSort | 1<<colSyncID | 1<<colExact | 1<<colJSON,
		one: 1<<colConnection | service | 1<<colTimeout | 1<<colDaemon},
	ActionAddServer:    {name: "add-server", must: server, may: rsOptions},
	ActionEditServer:   {name: "edit-server", must: server, may: rsOptions},
	ActionDeleteServer: {name: "delete-server", must: server, may: 1<<colEnsure | 1<<colFullNAT},
	ActionSet:          {name: "set"},
	ActionStartDaemon:  {name: "start-daemon", may: daemonOptions},
	ActionStopDaemon:   {name: "stop-daemon", may: 1 << colSyncID},
	ActionRestore:      {name: "restore"},
	ActionSave:         {name: "save", may: 1 << colNumeric},
	ActionZero:         {name: "zero", may: service},
	ActionHelp:         {name: "help"},
	ActionVersion:      {name: "version"},
	ActionAddLocal:     {name: "add-laddr", must: service | 1<<colLocal, may: 1 << colEnsure},
	ActionDeleteLocal:  {name: "del-laddr", must: service | 1<<colLocal, may: 1 << colEnsure},
	ActionGetLocal:     {name: "get-laddr", may: service | 1<<colNumeric | 1<<colJSON},
}

// tunnelRows is the matrix of tunnel types and tunnel options, by
// ipvs.TunnelType.
var tunnelRows = [...]row{
	{name: "ipip"},
	{name: "gue", must: 1 << colTunPort, one: csumOptions},
	{name: "gre", one: 1<<colTunNoCsum | 1<<colTunCsum},
}

// check reports the first column, in matrix order, in which given does not fit
// the row. kind is what the row stands for: "command" or "tunnel type".
func (r *row) check(kind string, given, consider columns) (at column, reason string) {
	first := colNone // of those of which only one may be given
	for c := range columnCount {
		switch {
		case !consider.has(c):
		case !given.has(c):
			if r.must.has(c) {
				return c, "you need to supply the '" + columnNames[c] + "' option for the '" + r.name + "' " + kind
			}
		case r.one.has(c):
			if first != colNone {
				return c, "the option '" + columnNames[c] + "' conflicts with the '" + columnNames[first] + "' option in the '" + r.name + "' " + kind
			}
			first = c
		case !(r.must | r.may).has(c):
			return c, "illegal '" + columnNames[c] + "' option with the '" + r.name + "' " + kind
		}
	}
	return colNone, ""
}

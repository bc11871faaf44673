package ipvsadm

// An argument says what follows an option.
type argument uint8

const (
	argNone argument = iota
	argRequired
	// argOptional: the next word unless there is none or it begins with a dash.
	argOptional
)

// An option is one row of the grammar.
type option struct {
	long  string
	short byte // 0: none
	arg   argument
	// action makes the option a command.
	action Action
	// col is its column in the matrix, for a command colNone.
	col column
	// only are the actions that know the option, as a set of 1<<Action; 0 means
	// all. To the others it does not exist. 1<<0 is "no command so far".
	only uint32
	// set takes the value; nil when being given says it all.
	set func(p *parser, value string) error
}

const (
	first       = 1 << 0
	editServers = 1<<ActionAddServer | 1<<ActionEditServer
	services    = 1<<ActionAddService | 1<<ActionEditService | 1<<ActionDeleteService | 1<<ActionDeleteServer
	locals      = 1<<ActionAddLocal | 1<<ActionDeleteLocal | 1<<ActionGetLocal
)

// options is the grammar. An option that only some actions know comes before
// another with the same letter.
var options = [...]option{
	{long: "tcp-service", short: 't', arg: argRequired, col: colService, set: setTCP},
	{long: "udp-service", short: 'u', arg: argRequired, col: colService, set: setUDP},
	{long: "real-server", short: 'r', arg: argRequired, col: colServer, set: setRealServer},
	{long: "add-server", short: 'a', action: ActionAddServer, col: colNone},
	{long: "masquerading", short: 'm', col: colForward, set: setNAT},
	{long: "gatewaying", short: 'g', col: colForward, set: setDirectRoute},
	{long: "ipip", short: 'i', col: colForward, set: setTunnelMethod},
	{long: "weight", short: 'w', arg: argRequired, col: colWeight, set: setWeight},
	{long: "u-threshold", short: 'x', arg: argRequired, col: colUpper, set: setUpper},
	{long: "l-threshold", short: 'y', arg: argRequired, col: colLower, set: setLower},
	{long: "add-service", short: 'A', action: ActionAddService, col: colNone},
	{long: "scheduler", short: 's', arg: argRequired, col: colScheduler, set: setScheduler},
	{long: "persistent", short: 'p', arg: argOptional, col: colPersistent, set: setPersistent},
	{long: "netmask", short: 'M', arg: argRequired, col: colNetmask, set: setNetmask},
	{long: "fwmark-service", short: 'f', arg: argRequired, col: colService, set: setMark},
	{long: "ipv6", short: '6', col: colNone, set: setIPv6},
	{long: "sctp-service", arg: argRequired, col: colService, set: setSCTP},
	{long: "fullnat", short: 'b', col: colForward, only: editServers, set: setFullNAT},
	{long: "fullnat", col: colFullNAT, only: services, set: setFullNATService},
	{long: "sched-flags", short: 'b', arg: argRequired, col: colSchedFlags, set: setSchedFlags},
	{long: "ops", short: 'o', col: colOnePacket, set: setOnePacket},
	{long: "pe", arg: argRequired, col: colEngine, set: setEngine},

	{long: "edit-service", short: 'E', action: ActionEditService, col: colNone},
	{long: "delete-service", short: 'D', action: ActionDeleteService, col: colNone},
	{long: "edit-server", short: 'e', action: ActionEditServer, col: colNone},
	{long: "delete-server", short: 'd', action: ActionDeleteServer, col: colNone},
	{long: "clear", short: 'C', action: ActionFlush, col: colNone},
	{long: "restore", short: 'R', action: ActionRestore, col: colNone},
	{long: "save", short: 'S', action: ActionSave, col: colNone},
	{long: "list", short: 'L', action: ActionList, col: colNone},
	{long: "list", short: 'l', action: ActionList, col: colNone},
	{long: "zero", short: 'Z', action: ActionZero, col: colNone},
	{long: "set", action: ActionSet, col: colNone},
	{long: "start-daemon", arg: argRequired, action: ActionStartDaemon, col: colNone, set: setDaemonState},
	{long: "stop-daemon", arg: argRequired, action: ActionStopDaemon, col: colNone, set: setDaemonState},
	{long: "help", short: 'h', action: ActionHelp, col: colNone},
	{long: "version", short: 'v', action: ActionVersion, col: colNone},
	{long: "add-laddr", short: 'P', action: ActionAddLocal, col: colNone, only: first},
	{long: "del-laddr", short: 'Q', action: ActionDeleteLocal, col: colNone, only: first},
	{long: "get-laddr", short: 'G', action: ActionGetLocal, col: colNone, only: first},
	{long: "laddr", short: 'z', arg: argRequired, col: colLocal, only: locals, set: setLocal},
	{long: "proxy-protocol", arg: argRequired, col: colProxy, set: setProxy},
	{long: "plane", arg: argRequired, col: colPlane, set: setPlane},
	{long: "synproxy", short: 'j', arg: argRequired, col: colSynProxy, set: setSynProxy},

	{long: "numeric", short: 'n', col: colNumeric},
	{long: "connection", short: 'c', col: colConnection},
	{long: "exact", short: 'X', col: colExact},
	{long: "stats", col: colStats},
	{long: "rate", col: colRate},
	{long: "thresholds", col: colThresholds},
	{long: "persistent-conn", col: colPersistentConn},
	{long: "tun-info", col: colTunInfo},
	{long: "timeout", col: colTimeout},
	{long: "daemon", col: colDaemon},
	{long: "nosort", col: colNoSort},
	{long: "sort", col: colNone},

	{long: "tun-type", arg: argRequired, col: colTunType, set: setTunnelType},
	{long: "tun-port", arg: argRequired, col: colTunPort, set: setTunnelPort},
	{long: "tun-nocsum", col: colTunNoCsum},
	{long: "tun-csum", col: colTunCsum, set: setChecksum},
	{long: "tun-remcsum", col: colTunRemCsum, set: setRemoteChecksum},

	{long: "syncid", arg: argRequired, col: colSyncID, set: setSyncID},
	{long: "sync-maxlen", arg: argRequired, col: colMaxLen, set: setMaxLen},
	{long: "mcast-interface", arg: argRequired, col: colMcastInterface, set: setMcastInterface},
	{long: "mcast-group", arg: argRequired, col: colMcastGroup, set: setMcastGroup},
	{long: "mcast-port", arg: argRequired, col: colMcastPort, set: setMcastPort},
	{long: "mcast-ttl", arg: argRequired, col: colMcastTTL, set: setMcastTTL},

	{long: "json", col: colJSON},
	{long: "ensure", col: colEnsure},
}

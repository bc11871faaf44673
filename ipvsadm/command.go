package ipvsadm

import "github.com/goipvs/goipvs/ipvs"

// Action is what a command line asks for.
type Action uint8

// The actions. The zero Action is no command at all: an empty line.
const (
	ActionAddService Action = iota + 1
	ActionEditService
	ActionDeleteService
	ActionFlush
	ActionList
	ActionAddServer
	ActionEditServer
	ActionDeleteServer
	ActionSet
	ActionStartDaemon
	ActionStopDaemon
	ActionRestore
	ActionSave
	ActionZero
	ActionHelp
	ActionVersion
	// Full NAT's local addresses.
	ActionAddLocal
	ActionDeleteLocal
	ActionGetLocal
)

// Command is one parsed command line.
type Command struct {
	Action Action
	// Change is the whole of the six rule actions. Of -L and -Z with a service,
	// Change.Service.ServiceKey is that service.
	Change ipvs.Change
	// Timeouts are those of --set; zero keeps what the kernel has.
	Timeouts ipvs.Timeouts
	// Daemon is that of --start-daemon and --stop-daemon.
	Daemon ipvs.Daemon

	given columns
}

// Rule reports whether the command is a change to the table that needs nothing
// but Change: -A -E -D -a -e -d without --ensure.
func (c *Command) Rule() bool {
	return c.Change.Op != 0 && !c.given.has(colEnsure)
}

// fullNAT reports whether the command can be for full NAT only.
func (c *Command) fullNAT() bool {
	return c.Action >= ActionAddLocal || forFullNAT(&c.Change)
}

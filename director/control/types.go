package control

import "time"

// Status is the result of the verb status. Field names are an interface.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Config  string    `json:"config"`
	Time    time.Time `json:"time"`
	Reload  *Reload   `json:"reload,omitempty"` // the last one
	Kernel  string    `json:"kernel"`           // "ok", or why it cannot be reached
	// WithoutIPVS is why services of NAT run in user space; empty: there is IPVS.
	WithoutIPVS string     `json:"without_ipvs,omitempty"`
	Hold        *time.Time `json:"mass_failure_since,omitempty"`
	// Conntrack is how full connection tracking is; absent: it is not loaded.
	Conntrack *Conntrack `json:"conntrack,omitempty"`
	// Userspace is full NAT in user space as a whole; absent: there is none.
	Userspace *Userspace      `json:"userspace,omitempty"`
	Services  []ServiceStatus `json:"services"`
}

// Userspace is full NAT in user space: how full it is, and what went wrong there
// since it began.
type Userspace struct {
	Connections uint64 `json:"connections"` // sessions of UDP, too
	// Limit is how many there can be, by the daemon's limit of file descriptors.
	Limit       uint64 `json:"limit"`
	Refused     uint64 `json:"refused"`     // no server was there for the connection
	Unreachable uint64 `json:"unreachable"` // none of the servers that were tried answered
	NoFiles     uint64 `json:"no_files"`    // times that descriptors or memory ran out
	Exhausted   uint64 `json:"exhausted"`   // no port, or descriptor, in the time to connect
	Idle        uint64 `json:"idle"`        // reset after the idle timeout
	Dropped     uint64 `json:"dropped"`     // datagrams without server, port or room
}

// Conntrack is connection tracking: entries, and for how many there is room.
type Conntrack struct {
	Count uint64 `json:"count"`
	Max   uint64 `json:"max"`
}

// Reload is how a reload went.
type Reload struct {
	Time  time.Time `json:"time"`
	Error string    `json:"error,omitempty"` // empty: it went well
}

// ServiceStatus is one virtual service.
type ServiceStatus struct {
	Name      string     `json:"name"`
	Service   string     `json:"service"` // "tcp 192.0.2.10:80", "fwmark 7"
	Scheduler string     `json:"scheduler"`
	State     string     `json:"state"` // up, down, pending, leaving, refused
	Since     *time.Time `json:"since,omitempty"`
	Fallback  bool       `json:"fallback"` // in use
	Quorum    int        `json:"quorum"`
	Capacity  int        `json:"capacity"`          // sum of weights of the servers that are in
	Drift     string     `json:"drift,omitempty"`   // how the kernel differs from what is wanted
	Refused   string     `json:"refused,omitempty"` // what the kernel said no to
	// Plane is where full NAT of the service runs: kernel, userspace; empty: it is
	// of another method, or refused. PlaneReason is why.
	Plane       string `json:"plane,omitempty"`
	PlaneReason string `json:"plane_reason,omitempty"`
	// ByCommand: commands made the service (goipvs -A --fullnat), not the file.
	ByCommand bool `json:"by_command,omitempty"`
	// Locals are the source addresses of full NAT towards real servers.
	Locals []string `json:"locals,omitempty"`
	// SourceNAT counts the connections that the kernel's full NAT gave a local
	// address; absent: it is not the kernel's.
	SourceNAT *uint64        `json:"source_nat_connections,omitempty"`
	Servers   []ServerStatus `json:"servers"`
	// Others are destinations that the kernel has and the file has not: the
	// fallback, and what is being drained.
	Others []ServerStatus `json:"others,omitempty"`
}

// ServerStatus is one real server of a service.
type ServerStatus struct {
	Name    string     `json:"name,omitempty"` // as the file has it, when that is not the address
	Address string     `json:"address"`
	Verdict string     `json:"verdict,omitempty"` // up, down, unchecked
	Since   *time.Time `json:"since,omitempty"`
	Reason  string     `json:"reason,omitempty"` // why it is down
	Place   string     `json:"place"`            // in, quiesced, out, leaving, fallback
	Cause   string     `json:"cause,omitempty"`  // the rule that put it there
	// Weights: of the file, wanted now, and in the kernel (absent: it is not there).
	Weight       int32     `json:"weight"`
	WeightWanted int32     `json:"weight_wanted"`
	WeightKernel *int32    `json:"weight_kernel,omitempty"`
	Method       string    `json:"method"`
	Active       uint32    `json:"active"`          // connections
	Inactive     uint32    `json:"inactive"`        // connections
	Stats        *Stats    `json:"stats,omitempty"` // absent: it is not in the kernel
	Override     *Override `json:"override,omitempty"`
	Maintenance  string    `json:"maintenance_file,omitempty"`
	Checks       []Check   `json:"checks,omitempty"`
}

// Stats are the kernel's counters of a server, and its rates per second.
type Stats struct {
	Connections uint64 `json:"connections"`
	PacketsIn   uint64 `json:"packets_in"`
	PacketsOut  uint64 `json:"packets_out"`
	BytesIn     uint64 `json:"bytes_in"`
	BytesOut    uint64 `json:"bytes_out"`
	CPS         uint64 `json:"connections_per_second"`
	BPSIn       uint64 `json:"bytes_in_per_second"`
	BPSOut      uint64 `json:"bytes_out_per_second"`
	// ConnectFailures counts connects that the server refused, or did not answer in
	// time, by full NAT in user space; absent: the kernel does not connect.
	ConnectFailures *uint64 `json:"connect_failures,omitempty"`
}

// Override is what an operator said of a server.
type Override struct {
	Kind     string     `json:"kind"` // drain, maintain, weight
	Weight   *int32     `json:"weight,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	By       string     `json:"by,omitempty"`
	Since    time.Time  `json:"since"`
	Until    *time.Time `json:"until,omitempty"`
	Deadline *time.Time `json:"deadline,omitempty"`
}

// Check is one check of a server.
type Check struct {
	Type       string     `json:"type"`
	Verdict    string     `json:"verdict"` // up, down, unknown
	Reason     string     `json:"reason,omitempty"`
	Last       *time.Time `json:"last,omitempty"`
	Seconds    float64    `json:"seconds,omitempty"` // the last one took
	Successes  int        `json:"successes,omitempty"`
	Failures   int        `json:"failures,omitempty"` // in a row
	Warning    string     `json:"warning,omitempty"`
	Transcript string     `json:"transcript,omitempty"` // explain only
}

// ServerArgs are those of the verbs drain, enable, maintain and weight.
type ServerArgs struct {
	Server  string  `json:"server"`            // address with or without port, or the file's name
	Service string  `json:"service,omitempty"` // name or address; empty: every service that has the server
	Reason  string  `json:"reason,omitempty"`
	Seconds float64 `json:"seconds,omitempty"` // maintain, weight: how long; drain: the deadline. 0: no end
	Weight  *int32  `json:"weight,omitempty"`  // weight only
}

// Changed is the result of those verbs: the servers concerned, and what of them
// was news.
type Changed struct {
	Changed   bool     `json:"changed"`             // for one of them at least
	Servers   []string `json:"servers"`             // "10.0.0.1:80 of tcp 192.0.2.1:80"
	Unchanged []string `json:"unchanged,omitempty"` // those of them of whom it had been said before
	// Warning: it is done, but will not survive a restart of the daemon.
	Warning string `json:"warning,omitempty"`
}

// ReloadArgs are those of the verb reload.
type ReloadArgs struct {
	Force bool `json:"force,omitempty"` // even when more than max_removal goes
}

// Reloaded is the result of the verb reload.
type Reloaded struct {
	Added    int      `json:"added"`
	Removed  int      `json:"removed"`
	Changed  int      `json:"changed"`
	Kept     int      `json:"kept"`
	Warnings []string `json:"warnings,omitempty"`
}

// Upgraded is the result of the verb upgrade: the process that has taken over,
// and the one before.
type Upgraded struct {
	PID int `json:"pid"`
	Was int `json:"was"`
}

// ExplainArgs are those of the verb explain.
type ExplainArgs struct {
	Subject string `json:"subject"` // a service or a server
	Service string `json:"service,omitempty"`
}

// Explanation is the result of the verb explain: all that matches the subject.
type Explanation struct {
	Services []ExplainedService `json:"services,omitempty"`
	Servers  []ExplainedServer  `json:"servers,omitempty"`
}

// ExplainedService is a service and what happened to it.
type ExplainedService struct {
	ServiceStatus
	Timeline []Event `json:"timeline"`
}

// ExplainedServer is a server and what happened to it.
type ExplainedServer struct {
	Of string `json:"service"` // name of its service
	ServerStatus
	Timeline []Event `json:"timeline"`
}

// Event is a line of a timeline.
type Event struct {
	Time   time.Time         `json:"time"`
	Event  string            `json:"event"`
	Text   string            `json:"text"`
	Reason string            `json:"reason,omitempty"`
	Facts  map[string]string `json:"facts,omitempty"`
}

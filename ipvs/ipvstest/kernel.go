package ipvstest

import (
	"sync"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Options describe the machine of a [Kernel]. The zero value is a Linux 6.1
// with every scheduler.
type Options struct {
	// Schedulers and Engines are the modules that can be loaded; nil means all
	// that Linux has. The scheduler "none" needs no module.
	Schedulers, Engines []string
	// Interfaces maps a network interface to its MTU; nil means lo and eth0.
	Interfaces map[string]int
	// HZ is the length of a second in ticks, which bounds timeouts; 0 means 100.
	HZ int
	// Chunk is how many entries a listing takes before others get their turn;
	// 0 means 90, about what the kernel puts into one message buffer.
	Chunk int
}

func (o Options) filled() Options {
	if o.Schedulers == nil {
		o.Schedulers = []string{"rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "lblc", "lblcr", "fo", "ovf", "mh"}
	}
	if o.Engines == nil {
		o.Engines = []string{"sip"}
	}
	if o.Interfaces == nil {
		o.Interfaces = map[string]int{"lo": 65536, "eth0": 1500}
	}
	if o.HZ == 0 {
		o.HZ = 100
	}
	if o.Chunk == 0 {
		o.Chunk = 90
	}
	return o
}

// Kernel is the IPVS of one network namespace, held in memory, with the
// methods of ipvs.Client. It is safe for concurrent use. Make one with [New].
//
// A Kernel stands for one process's way to the kernel: faults and hooks belong
// to it alone, the table is shared with every [Kernel.Other].
type Kernel struct {
	state *state

	mu     sync.Mutex
	faults []*Fault
	hook   func(Call)
}

// New returns a kernel with an empty table.
func New(o Options) *Kernel {
	s := &state{machine: o.filled()}
	s.reset()
	return &Kernel{state: s}
}

// Other is another process on the same machine: it sees and changes the same
// table and meets none of k's faults and hooks.
func (k *Kernel) Other() *Kernel { return &Kernel{state: k.state} }

// Unload takes IPVS out of the kernel, and with it the table, the timeouts and
// the daemons, as "ipvsadm -C; rmmod ip_vs" does. Until [Kernel.Load] every
// operation is ipvs.ErrNoIPVS.
func (k *Kernel) Unload() {
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	k.state.reset()
	k.state.absent = true
}

// Load brings IPVS back, with an empty table.
func (k *Kernel) Load() {
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	k.state.absent = false
}

// state is what all processes share. Its methods are the kernel's functions:
// they are called with mu held and answer with an errno, 0 for success.
type state struct {
	machine Options

	mu       sync.Mutex
	absent   bool
	services map[ipvs.ServiceKey]*service
	order    []*service                  // in the order they were added
	trash    map[trashKey][]*destination // the newest last
	mixed    int                         // destinations of another family than their service's
	timeouts ipvs.Timeouts
	daemons  map[ipvs.DaemonState]ipvs.Daemon
}

func (s *state) reset() {
	s.services = make(map[ipvs.ServiceKey]*service)
	s.order, s.mixed = nil, 0
	s.trash = make(map[trashKey][]*destination)
	s.timeouts = ipvs.Timeouts{TCP: 15 * time.Minute, TCPFin: 2 * time.Minute, UDP: 5 * time.Minute}
	s.daemons = make(map[ipvs.DaemonState]ipvs.Daemon)
}

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/alert"
	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/director/proxy"
	"github.com/goipvs/goipvs/director/sourcenat"
	"github.com/goipvs/goipvs/director/store"
	"github.com/goipvs/goipvs/director/web"
	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl"
)

// Options say how to run the daemon. Config is needed.
type Options struct {
	Config  string // path of the file
	Version string
	Log     *slog.Logger   // nil: made as the file says
	LogTo   io.Writer      // of a log that is made; nil: standard error
	Level   *slog.LevelVar // of Log; nil: not changed
	// Kernel is what is kept right; nil: that of this network namespace.
	Kernel director.Kernel
	// SourceNAT is what full NAT in the kernel needs besides; nil: that of this
	// network namespace.
	SourceNAT SourceNAT
	// Signals are those of the process; nil: none.
	Signals <-chan os.Signal
	// Ready is called once, when the services are in the kernel. nil: nobody waits.
	Ready func()
	// Program is what an upgrade starts; without a path there is none.
	Program Program
	// Patience with each step of an upgrade; 0: as long as is reasonable.
	Patience time.Duration
	// Step hears of the steps of an upgrade, for tests. nil: nobody does.
	Step func(string)
}

// SourceNAT is what full NAT in the kernel needs besides IPVS.
type SourceNAT interface {
	director.SourceNAT
	// Check tells why this machine cannot do it; nil: it can.
	Check(snat.Need) error
	// Connections calls each with the connections of services that have a local
	// address.
	Connections(services []snat.Service, each func(*sourcenat.Connection)) error
}

// Daemon is one running goipvsd.
type Daemon struct {
	o       Options
	log     *slog.Logger
	config  *config.Config // as loaded; the reload goroutine's after the start
	started time.Time
	door    *door
	store   store.Store
	saver   *saver
	names   *names
	prober  *director.Prober
	dir     *director.Director
	notify  *notifier
	cmds    *commands
	folder  *folder
	watcher *watcher
	vips    *vips
	accept  *acceptor
	alerts  *alert.Alerter
	monitor *web.Monitor
	http    *web.Server
	reloads chan reload
	grown   chan struct{} // a reload is over, see trim
	abort   chan struct{} // closed: stop at once
	proxy   *proxy.Plane
	clients *clients
	server  *control.Server
	life    context.Context // until it is told to stop
	heir    *heir           // nil: this process takes nobody's place
	turn    chan struct{}   // closed: this process is the one

	commanded *commanded

	upgrading atomic.Bool
	asked     asked // what services have needed of source NAT
	// optional: the machine may have no IPVS, full NAT stands in for it then.
	// nil: it must have it.
	optional *optional
}

// ErrConfig is the error of a file that has mistakes, which wraps all of them.
var ErrConfig = errors.New("configuration")

// Run runs a daemon until ctx ends or a signal stops it.
func Run(ctx context.Context, o Options) error {
	collect(hurried)
	d := &Daemon{o: o, started: time.Now(), reloads: make(chan reload, 16), grown: make(chan struct{}, 1), abort: make(chan struct{}), turn: make(chan struct{})}
	h, err := inherit()
	if err != nil {
		return err
	}
	if d.heir = h; h == nil {
		return d.main(ctx)
	}
	if err := d.main(ctx); err != nil {
		h.failed(err)
		return err
	}
	return nil
}

func (d *Daemon) main(ctx context.Context) error {
	if d.heir != nil {
		if err := d.greeted(); err != nil {
			return err
		}
	}
	c, err := config.Load(d.o.Config, config.Options{})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	d.config = c
	defer d.logger()()
	d.door = &door{log: d.log, group: c.ControlGroup}
	if d.heir != nil {
		d.door.lock, err = d.heir.adopt(c, d.o.Config)
	} else {
		d.door.lock, err = Acquire(placeOf(d.o.Config, c))
	}
	if err != nil {
		return err
	}
	defer d.door.lock.Release()
	if d.o.Kernel == nil {
		k, err := d.dial()
		if err != nil {
			return err
		}
		defer k.Close()
	}
	return d.run(ctx)
}

// apart is how far apart first checks are: a burst of 2,000 a second, since
// nobody gets traffic before.
const apart = 500 * time.Microsecond

// dial opens the kernel's IPVS. Where there is none, the file may say that full
// NAT is to stand in for it.
func (d *Daemon) dial() (io.Closer, error) {
	if d.config.WithoutIPVS == config.WithoutFullNAT {
		k, err := newOptional(func() (closer, error) { return ipvs.Dial(ipvs.Options{}) }, d.log)
		d.optional, d.o.Kernel = k, k
		return k, err
	}
	k, err := ipvs.Dial(ipvs.Options{})
	d.o.Kernel = k
	return k, err
}

// assemble makes all parts, none of which runs yet, and the setup to begin with.
func (d *Daemon) assemble(ctx context.Context) (setup *director.Setup, err error) {
	if d.o.SourceNAT == nil {
		d.o.SourceNAT = newKeeper(d.config)
	}
	saved := d.restore()
	d.commanded = newCommanded(d.config.StateDir, d.saver.left, d.log)
	made := d.made(&saved)
	d.names = newNames(saved.Addresses, d.log)
	d.names.want(d.config.Hosts())
	setup, err = d.build(ctx, d.config, false)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	var known *director.Knowledge
	if d.heir != nil {
		if err := d.prepared(&saved); err != nil {
			return nil, err
		}
		known = d.heir.known
		made = d.made(&saved)
		d.saver.change(func(st *state) { *st = saved })
	}
	d.saveAddresses()
	d.notify = newNotifier(d.log, d.heir != nil)
	d.cmds, d.watcher = newCommands(d.log), newWatcher(d.log)
	d.cmds.as(d.config.CommandUser)
	d.folder = newFolder(d.config.MaintenanceDir, d.log)
	d.vips = newVIPs(saved.VIPs, func(m map[string]string) { d.saver.change(func(st *state) { st.VIPs = m }) }, d.log)
	d.accept = newAcceptor(saved.Sysctls, func(list []sysctl.Change) { d.saver.change(func(st *state) { st.Sysctls = list }) }, d.log)
	d.watch(d.config)
	d.alerts = alert.New(alertConfig(d.config), d.log)
	d.monitor = web.NewMonitor(d.o.Version, d.snapshot)
	d.http = web.NewServer(d.monitor, d.log)
	d.http.Set(d.config.HTTP)
	d.prober = director.NewProber(healthcheck.Options{Apart: apart, Done: d.monitor.Check}, d.log)
	d.monitor.Runner(d.prober.Stats)
	d.clients = newClients(d.config.StateDir, func() fullnat.State { return d.proxy.State() }, d.log)
	d.openProxy(saved.Services)
	d.proxy.SetTimeouts(saved.Timeouts)
	d.followKernel()
	d.dir = director.New(director.Options{
		Kernel: d.o.Kernel, Proxy: d.proxy, SourceNAT: d.o.SourceNAT, Manual: made, Log: d.log, Restored: saved.Persistent, Known: known,
		Events: d.event, Subjects: d.prober.Set, Beat: d.notify.beat, Saved: d.saver.put, Abort: d.abort, Draining: d.notify.draining,
		Command: d.cmds.put, VIPs: d.vips.set, Claimed: d.claimed, Paths: d.accept.set,
	})
	return setup, nil
}

// run starts everything, in the order in which it is needed, and waits for its
// end in the other.
func (d *Daemon) run(ctx context.Context) error {
	setup, err := d.assemble(ctx)
	if err != nil {
		return err
	}
	defer d.endProxy()
	if err = d.door.open(d.heir); err != nil {
		return err
	}
	socket := d.door.socket
	d.server = &control.Server{Verbs: d.verbs(), UID: os.Getuid(), Log: d.log}
	// Everything but the director ends when the director has.
	rest, end := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	defer all.Wait()
	defer end()
	late, last := context.WithCancel(context.WithoutCancel(ctx)) // ends last, when an upgrade has begun what is queued
	defer last()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d.life = ctx
	all.Go(func() { d.saver.run(rest) })
	all.Go(func() { d.prober.Run(rest, d.dir) })
	all.Go(func() { d.names.run(rest, d.rebind) })
	all.Go(func() { d.reloader(rest) })
	all.Go(func() { d.cmds.run(late) })
	all.Go(func() { d.folder.run(rest, d.dir.Maintain) })
	all.Go(func() { d.watcher.run(rest, d.requestReload) })
	all.Go(func() { d.alerts.Run(rest) })
	all.Go(func() { every(rest, repeatEvery, func() { d.alerts.Repeat(time.Now()) }) })
	all.Go(func() { d.signals(rest, stop) })
	all.Go(func() { d.announce(rest) })
	all.Go(func() { d.trim(rest) })
	all.Go(func() { d.follow(rest) })
	all.Go(func() { reapAdopted(rest) })
	for _, f := range []func(){ // these wait until the daemon before, of an upgrade, is out of their way
		func() { d.notify.status(ctx, d.statusText) },
		func() { d.vips.run(rest) },
		func() { d.accept.run(rest) },
		func() { d.http.Run(rest) },
		func() { d.clients.run(rest) },
		func() { d.commanded.run(rest) },
		func() { d.serve(rest, socket) },
		func() { d.door.run(rest, d.server) },
	} {
		all.Go(func() {
			if d.awaitTurn(rest) {
				f()
			}
		})
	}
	if d.optional != nil {
		all.Go(func() { d.optional.run(rest, d.rebind) })
	}
	err = d.dir.Run(ctx, setup)
	if errors.Is(err, director.ErrYielded) {
		return d.yielded(end)
	}
	return err
}

// yielded is what remains to be done when the director has left everything to
// another process: this one has upgraded, or it never came to its turn.
func (d *Daemon) yielded(end func()) error {
	if !d.isTurn() {
		return errNoTurn
	}
	end()
	d.bowOut()
	d.cmds.finish()
	return nil
}

var errNoTurn = errors.New("the process before did not let this one take over")

// openProxy makes full NAT, with what systemd or the process before kept of it.
func (d *Daemon) openProxy(services []fullnat.Service) {
	o := proxy.Options{Log: d.log, Services: services, Listening: d.notify.keep,
		Changed: func() { d.saver.later() }}
	d.saver.services = func() []fullnat.Service { return d.proxy.Table() }
	if d.heir != nil {
		o.Inherited, o.Paused = d.heir.files, true
	} else {
		o.Inherited = d.notify.kept()
		o.State = d.clients.load()
	}
	d.proxy = proxy.New(o)
}

// endProxy ends full NAT, and keeps which client was sent where.
func (d *Daemon) endProxy() {
	if !d.saver.left() {
		d.clients.save()
		d.saver.write()
	}
	d.proxy.Close()
}

// announce says that the daemon is ready once the director answers. One that
// takes another's place takes it then.
func (d *Daemon) announce(ctx context.Context) {
	if _, err := d.dir.Status(nil); err != nil || ctx.Err() != nil {
		return
	}
	if d.heir != nil {
		if err := d.takeOver(); err != nil {
			d.log.Error("this process does not take over", "event", director.UpgradeFailed.Name, "err", err)
			d.giveUp()
			return
		}
	}
	close(d.turn)
	d.proxy.Settled()
	d.notify.ready(d.statusText())
	if d.o.Ready != nil {
		d.o.Ready()
	}
}

// made are the services that commands made. A state file of an older version has
// them, too: what it says is in a file of their own from now on.
func (d *Daemon) made(saved *state) ipvs.Table {
	told := d.heir != nil && d.heir.told
	if !told && len(saved.Rules) == 0 {
		d.commanded.load()
	} else {
		d.commanded.start(saved.Rules)
	}
	saved.Rules = nil
	d.saver.change(func(st *state) { st.Rules = nil })
	t := d.commanded.now()
	d.asked.addTable(t)
	return t
}

// restore reads what the last run left. A state that cannot be read is said and
// no reason not to start.
func (d *Daemon) restore() (saved state) {
	if d.config.StateDir != "" {
		d.store.Path = filepath.Join(d.config.StateDir, "state.json")
	}
	if err := d.store.Load(&saved); err != nil {
		saved = state{}
		d.log.Error("the state file is unreadable, overrides are lost", "event", director.StateLost.Name, "err", err)
	}
	d.saver = newSaver(d.store, saved, d.log)
	return saved
}

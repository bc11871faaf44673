package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/store"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
)

// commanded keeps what commands made in a file of its own, fullnat.journal: a
// change appends what it says, whatever else there is. It is written on a
// goroutine of its own, as the state file is.
type commanded struct {
	journal store.Journal
	log     *slog.Logger
	wake    chan struct{}
	left    func() bool // the file is another process's

	mu      sync.Mutex
	done    *sync.Cond
	queue   [][]ipvs.Change // what is not in the file yet, a request each
	wanted  int             // requests that were put
	written int             // up to which of them the file has, or has failed to take
	err     error

	// Of the goroutine that writes.
	table   map[ipvs.ServiceKey]*ipvs.Entry // what the file is to make
	failing bool
}

// againAfter is how long after a failure the file is tried again.
const againAfter = 10 * time.Second

func newCommanded(stateDir string, left func() bool, log *slog.Logger) *commanded {
	c := &commanded{log: log, wake: make(chan struct{}, 1), left: left, table: make(map[ipvs.ServiceKey]*ipvs.Entry)}
	c.done = sync.NewCond(&c.mu)
	if stateDir != "" {
		c.journal.Path = filepath.Join(stateDir, "fullnat.journal")
	}
	return c
}

// load reads what the last run left. What is wrong with it is said, and is no
// reason not to start with what is right.
func (c *commanded) load() {
	clear(c.table)
	records, err := c.journal.Load()
	for i, r := range records {
		changes, wrong := readChanges(r)
		for j := range changes {
			if wrong == nil {
				wrong = c.take(&changes[j])
			}
		}
		if wrong != nil && err == nil {
			err = fmt.Errorf("record %d: %w", i+1, wrong)
		}
	}
	if err != nil {
		c.log.Error("not all services of full NAT that commands made can be read", "event", "fullnat_lost", "err", err, "services", len(c.table))
	}
}

// start takes the table of another process, or of the state file that versions
// before this one wrote.
func (c *commanded) start(rules []string) {
	t, err := ipvsadm.Table(rules)
	if err != nil {
		c.log.Error("services of full NAT that commands made are lost", "event", "fullnat_lost", "err", err)
	}
	clear(c.table)
	for i := range t {
		c.table[t[i].Service.ServiceKey] = &t[i]
	}
}

// now is the table, for who reads it before anything is put.
func (c *commanded) now() (t ipvs.Table) {
	for _, k := range slices.SortedFunc(maps.Keys(c.table), ipvs.ServiceKey.Compare) {
		t = append(t, *copyOf(c.table[k]))
	}
	return t
}

func copyOf(e *ipvs.Entry) *ipvs.Entry {
	return &ipvs.Entry{Service: e.Service, Destinations: slices.Clone(e.Destinations), Locals: slices.Clone(e.Locals)}
}

// take makes one change of the table.
func (c *commanded) take(ch *ipvs.Change) error {
	k := ch.Service.ServiceKey
	next, err := changed(c.table[k], ch)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", ipvsadm.AppendChange(nil, *ch), err)
	case next == nil:
		delete(c.table, k)
	default:
		c.table[k] = next
	}
	return nil
}

const between = "; " // the rules of one request

func readChanges(record string) (all []ipvs.Change, err error) {
	for rule := range strings.SplitSeq(record, between) {
		c, err := ipvsadm.Parse(strings.Fields(rule), nil)
		if err != nil {
			return nil, err
		}
		if !c.Rule() {
			return nil, fmt.Errorf("%q changes no table", rule)
		}
		all = append(all, c.Change)
	}
	return all, nil
}

func writeChanges(all []ipvs.Change) string {
	var b []byte
	for i, c := range all {
		if i > 0 {
			b = append(b, between...)
		}
		b = ipvsadm.AppendChange(b, c)
	}
	return string(b)
}

// put takes the changes of a request to be written; it does not wait.
func (c *commanded) put(changes []ipvs.Change) {
	c.mu.Lock()
	c.queue = append(c.queue, changes)
	c.wanted++
	c.mu.Unlock()
	c.ask()
}

func (c *commanded) ask() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// flush waits until what was put before is in the file, or cannot be put there.
func (c *commanded) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for target := c.wanted; c.written < target; {
		c.done.Wait()
	}
	return c.err
}

// run writes until ctx ends, and then what is left.
func (c *commanded) run(ctx context.Context) {
	if c.journal.Records() < 0 && len(c.table) > 0 {
		c.ask() // what many changes made is written shorter, or anew
	}
	again := time.NewTicker(againAfter)
	defer again.Stop()
	for {
		select {
		case <-c.wake:
			c.write()
		case <-again.C:
			if c.failing {
				c.write()
			}
		case <-ctx.Done():
			c.write()
			c.journal.Close()
			return
		}
	}
}

// rules are those that make the table, for another process. Nobody may put
// anything meanwhile.
func (c *commanded) rules() []string {
	_ = c.flush() // what it could not write is in the table all the same
	return ipvsadm.Rules(c.now())
}

func (c *commanded) write() {
	c.mu.Lock()
	queue, n := c.queue, c.wanted
	c.queue = nil
	c.mu.Unlock()
	var records []string
	for _, changes := range queue {
		records = append(records, writeChanges(changes))
		for i := range changes {
			if err := c.take(&changes[i]); err != nil {
				c.log.Error("a bug: the journal of commands does not follow them", "err", err)
			}
		}
	}
	var err error
	switch have := c.journal.Records(); {
	case c.left():
	case have < 0 && len(queue) == 0 && len(c.table) == 0 && !c.failing: // there is nothing, and no file
	case have < 0, have > 1000+4*len(c.table):
		err = c.journal.Rewrite(perService(c.now()))
	case len(records) > 0:
		err = c.journal.Append(records...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written, c.err = n, err
	c.done.Broadcast()
	switch {
	case err != nil && !c.failing:
		c.log.Error("what commands make of full NAT cannot be written, it will not survive a restart", "event", director.StateUnsaved.Name, "err", err)
	case err == nil && c.failing:
		c.log.Info("what commands made of full NAT is written", "event", director.StateSaved.Name)
	}
	c.failing = err != nil
}

// perService are records that make the table, one for each service.
func perService(t ipvs.Table) (records []string) {
	for i := range t {
		records = append(records, strings.Join(ipvsadm.Rules(t[i:i+1]), between))
	}
	return records
}

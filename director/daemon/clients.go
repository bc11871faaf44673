package daemon

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/store"
	"github.com/goipvs/goipvs/fullnat"
)

// What clients of full NAT would miss after a restart is in a file of its own:
// it is large, may be a minute old, and holds up nobody's word.
const (
	clientsEvery = time.Minute
	mostClients  = 200_000 // sessions and templates, each, in the file
)

// clients keeps that file.
type clients struct {
	store   store.Store
	log     *slog.Logger
	state   func() fullnat.State
	failing bool
	written bool // something that is worth to be replaced
}

func newClients(stateDir string, state func() fullnat.State, log *slog.Logger) *clients {
	c := &clients{log: log, state: state}
	if stateDir != "" {
		c.store.Path = filepath.Join(stateDir, "clients.json")
	}
	return c
}

// load reads what the last run left. A file that cannot be read is said and
// costs clients their servers, nothing else.
func (c *clients) load() (st fullnat.State) {
	if err := c.store.Load(&st); err != nil {
		c.log.Error("the file of full NAT's clients is unreadable, they are sent to servers anew", "event", director.StateLost.Name, "err", err)
		return fullnat.State{}
	}
	return st
}

// run writes it every minute until ctx ends.
func (c *clients) run(ctx context.Context) { every(ctx, clientsEvery, c.save) }

func (c *clients) save() {
	st := c.state()
	if len(st.Sessions)+len(st.Templates)+len(st.Counters) == 0 && !c.written {
		return
	}
	st.Sessions, st.Templates = st.Sessions[:min(len(st.Sessions), mostClients)], st.Templates[:min(len(st.Templates), mostClients)]
	err := c.store.Save(&st)
	if err != nil && !c.failing {
		c.log.Error("the file of full NAT's clients cannot be written, a restart sends them to servers anew", "event", director.StateUnsaved.Name, "err", err)
	} else if err == nil && c.failing {
		c.log.Info("the file of full NAT's clients can be written again", "event", director.StateSaved.Name)
	}
	c.failing, c.written = err != nil, true
}

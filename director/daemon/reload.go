package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director"
)

// reload is one wish for a reload.
type reload struct {
	force  bool
	answer chan<- reloadResult // nil: nobody waits
	rebind bool                // the file is as it was, host names have other addresses, or the machine has IPVS or lost it
}

type reloadResult struct {
	director.Reload
	warnings []string
	err      error
}

// requestReload asks for a reload and does not wait. However many ask while one
// is under way, one follows it.
func (d *Daemon) requestReload() {
	select {
	case d.reloads <- reload{}:
	default:
	}
}

// rebind asks for the present file with the present addresses of host names.
func (d *Daemon) rebind() {
	select {
	case d.reloads <- reload{rebind: true}:
	default:
	}
}

// reloader carries out reloads, one after the other. Wishes that came in
// meanwhile are one.
func (d *Daemon) reloader(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-d.reloads:
			all := append([]reload{r}, d.pending()...)
			d.reloadAll(ctx, all)
		}
	}
}

func (d *Daemon) pending() (all []reload) {
	for {
		select {
		case r := <-d.reloads:
			all = append(all, r)
		default:
			return all
		}
	}
}

func (d *Daemon) reloadAll(ctx context.Context, all []reload) {
	force, file := false, false
	for _, r := range all {
		force, file = force || r.force, file || !r.rebind
	}
	var res reloadResult
	if file {
		res = d.reload(ctx, force)
	} else {
		d.bindAgain(ctx)
	}
	select {
	case d.grown <- struct{}{}:
	default:
	}
	for _, r := range all {
		if r.answer != nil {
			r.answer <- res
		}
	}
}

// reload reads the file and puts it in place, all of it or nothing.
func (d *Daemon) reload(ctx context.Context, force bool) (res reloadResult) {
	d.notify.reloading()
	defer func() { d.notify.ready(d.statusText()) }()
	c, err := config.Load(d.o.Config, config.Options{})
	if err == nil {
		err = d.fixed(c)
	}
	if err != nil {
		d.dir.ReloadFailed(err)
		return reloadResult{err: fmt.Errorf("%w: %w", ErrConfig, err)}
	}
	setup, err := d.build(ctx, c, true)
	if err != nil {
		d.dir.ReloadFailed(err)
		return reloadResult{err: fmt.Errorf("%w: %w", ErrConfig, err)}
	}
	if res.Reload, res.err = d.dir.Reload(setup, force); res.err != nil {
		return res
	}
	d.config = c
	d.level(c)
	d.names.want(c.Hosts())
	d.saveAddresses()
	d.folder.set(c.MaintenanceDir)
	d.alerts.Set(alertConfig(c))
	d.cmds.as(c.CommandUser)
	d.http.Set(c.HTTP)
	d.watch(c)
	for _, w := range c.Warnings {
		res.warnings = append(res.warnings, w.String())
	}
	res.warnings = append(res.warnings, res.Ending...)
	return res
}

// watch has autoreload look at the files of a configuration, and at those that
// may come into its included folders.
func (d *Daemon) watch(c *config.Config) {
	if !c.Autoreload {
		d.watcher.set(nil, nil)
		return
	}
	d.watcher.set(func() []string {
		files := slices.Clone(c.Files)
		for _, p := range c.Include {
			if !filepath.IsAbs(p) {
				p = filepath.Join(filepath.Dir(d.o.Config), p)
			}
			more, _ := filepath.Glob(p)
			files = append(files, more...)
		}
		return files
	}, c.Sums)
}

// fixed refuses to change by a reload what only a restart can.
func (d *Daemon) fixed(c *config.Config) error {
	var all config.Errors
	for _, k := range []struct{ name, old, new string }{
		{"control", d.config.Control, c.Control}, {"state_dir", d.config.StateDir, c.StateDir},
		{"control_group", d.config.ControlGroup, c.ControlGroup}, {"log_format", d.config.LogFormat, c.LogFormat},
	} {
		if k.old != k.new {
			all = append(all, config.Problem{File: d.o.Config, Line: c.Lines[k.name], Text: fmt.Sprintf("%s was %q when the daemon started and is now %q", k.name, k.old, k.new),
				Hint: "restart the daemon to change it: no service is interrupted by that"})
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b config.Problem) int { return a.Line - b.Line })
	return all
}

// build makes a setup of a configuration. strict: every host name must have an
// address; otherwise servers without one are left out until they have.
func (d *Daemon) build(ctx context.Context, c *config.Config, strict bool) (*director.Setup, error) {
	d.names.first(ctx, c.Hosts(), 2*time.Second)
	bound, told := c.Bind(d.names.lookup)
	if strict {
		if missing := d.unresolved(c); len(missing) > 0 {
			return nil, missing
		}
	}
	for _, p := range append(c.Warnings[:len(c.Warnings):len(c.Warnings)], told...) {
		d.log.Warn("configuration warning", "event", director.ConfigWarning.Name, "reason", p.String())
	}
	return director.BuildFor(bound, d.machine(c))
}

// unresolved are the servers whose names have no address, by file and line.
func (d *Daemon) unresolved(c *config.Config) (out config.Errors) {
	for i := range c.Virtuals {
		v := &c.Virtuals[i]
		for j := range v.Reals {
			r := &v.Reals[j]
			if r.Host == "" {
				continue
			}
			one := &config.Config{Virtuals: []config.Virtual{{Service: v.Service, Reals: []config.Real{*r}}}}
			if _, ok := d.names.lookup(one.Hosts()[0]); !ok {
				out = append(out, config.Problem{File: r.Pos.File, Line: r.Pos.Line, Text: fmt.Sprintf("host name %q cannot be resolved", r.Host)})
			}
		}
	}
	return out
}

// bindAgain puts new addresses of host names in place.
func (d *Daemon) bindAgain(ctx context.Context) {
	setup, err := d.build(ctx, d.config, false)
	if err != nil {
		d.log.Error("new addresses of servers or another machine cannot be used", "event", director.ResolveFailed.Name, "err", err)
		return
	}
	if err := d.dir.Rebind(setup); err != nil && !errors.Is(err, director.ErrStopped) {
		d.log.Error("new addresses of servers or another machine cannot be used", "event", director.ResolveFailed.Name, "err", err)
	}
	d.saveAddresses()
}

// saveAddresses keeps the addresses of host names for a start that cannot ask.
func (d *Daemon) saveAddresses() {
	d.saver.change(func(st *state) { st.Addresses = d.names.addresses() })
}

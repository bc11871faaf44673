package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/ipvsadm"
)

func (d *Daemon) serve(ctx context.Context, l *net.UnixListener) {
	if err := d.server.Serve(ctx, l); err != nil {
		d.log.Error(director.ControlFailed.Brief, "event", director.ControlFailed.Name, "err", err)
	}
}

// verbs are what clients may ask for.
func (d *Daemon) verbs() map[string]control.Verb {
	all := map[string]control.Verb{
		"status":   {Do: d.status},
		"explain":  {Do: d.explain},
		"drain":    {Write: true, Do: d.overrideVerb(director.Drain)},
		"maintain": {Write: true, Do: d.overrideVerb(director.Maintain)},
		"weight":   {Write: true, Do: d.overrideVerb(director.SetWeight)},
		"enable":   {Write: true, Do: d.overrideVerb("")},
		"reload":   {Write: true, Do: d.reloadVerb},
		"upgrade":  {Write: true, Do: d.upgradeVerb},

		ipvsadm.VerbRules:       {Write: true, Do: d.fullNATRules},
		ipvsadm.VerbList:        {Do: d.fullNATList},
		ipvsadm.VerbConnections: {Do: d.fullNATConnections},
	}
	for name, v := range all {
		do := v.Do
		v.Do = func(ctx context.Context, p control.Peer, args []byte) (any, error) {
			out, err := do(ctx, p, args)
			if errors.Is(err, director.ErrStopped) && d.saver.left() {
				err = control.Errorf(control.Busy, "goipvsd has just been upgraded, ask again")
			}
			return out, err
		}
		all[name] = v
	}
	return all
}

// arguments reads a verb's arguments strictly.
func arguments(b []byte, v any) error {
	if len(b) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one value")
		}
	}
	if err != nil {
		return control.Errorf(control.BadArgs, "arguments: %v", err)
	}
	return nil
}

func (d *Daemon) status(_ context.Context, _ control.Peer, args []byte) (any, error) {
	if err := arguments(args, &struct{}{}); err != nil {
		return nil, err
	}
	return d.snapshot()
}

// snapshot is the whole picture, without what was said in checks.
func (d *Daemon) snapshot() (control.Status, error) {
	st, err := d.dir.Status(d.checksBriefly)
	st.Version, st.PID, st.Started, st.Config = d.o.Version, os.Getpid(), d.started, d.o.Config
	st.Userspace = d.userspace()
	return st, err
}

// userspace is full NAT in user space, nil without any.
func (d *Daemon) userspace() *control.Userspace {
	most, e := d.proxy.Limit()
	if most == 0 {
		return nil
	}
	return &control.Userspace{Connections: uint64(d.proxy.Conns()), Limit: uint64(most),
		Refused: e.Refused, Unreachable: e.Unreachable, NoFiles: e.NoFiles, Exhausted: e.Exhausted, Idle: e.Idle, Dropped: e.Dropped}
}

// checksBriefly leaves out what was said, which is for explain.
func (d *Daemon) checksBriefly(id director.ServerID) []director.CheckStatus {
	list := d.prober.Checks(id)
	for i := range list {
		list[i].Transcript = ""
	}
	return list
}

func (d *Daemon) explain(_ context.Context, _ control.Peer, args []byte) (any, error) {
	var a control.ExplainArgs
	if err := arguments(args, &a); err != nil {
		return nil, err
	}
	if a.Subject == "" {
		return nil, control.Errorf(control.BadArgs, "explain what? subject is empty")
	}
	e, err := d.dir.Explain(a.Subject, a.Service, d.prober.Checks)
	if errors.Is(err, director.ErrNoServer) {
		return nil, notFound(err)
	}
	return e, err
}

func notFound(err error) error {
	return &control.Error{Code: control.NotFound, Message: err.Error(), Hint: "goipvs status lists services and real servers"}
}

// overrideVerb is a verb that says something of a server; the empty kind takes
// back what was said.
func (d *Daemon) overrideVerb(kind director.OverrideKind) func(context.Context, control.Peer, []byte) (any, error) {
	return func(_ context.Context, p control.Peer, args []byte) (any, error) {
		var a control.ServerArgs
		if err := arguments(args, &a); err != nil {
			return nil, err
		}
		o, err := override(kind, &a, p, time.Now())
		if err != nil {
			return nil, control.Errorf(control.BadArgs, "%v", err)
		}
		ids, changed, err := d.dir.Override(director.Selector{Server: a.Server, Service: a.Service}, o)
		if errors.Is(err, director.ErrNoServer) {
			return nil, notFound(err)
		} else if err != nil {
			return nil, err
		}
		out := control.Changed{Changed: len(changed) > 0}
		for _, id := range ids {
			out.Servers = append(out.Servers, id.String())
			if !slices.Contains(changed, id) {
				out.Unchanged = append(out.Unchanged, id.String())
			}
		}
		if err := d.saver.flush(); err != nil {
			out.Warning = fmt.Sprintf("done, but it will not survive a restart of goipvsd: %v", err)
		}
		return out, nil
	}
}

// maxSeconds is a hundred years: more is a slip.
const maxSeconds = 100 * 365 * 86400

func override(kind director.OverrideKind, a *control.ServerArgs, p control.Peer, now time.Time) (*director.Override, error) {
	switch {
	case a.Server == "":
		return nil, errors.New("which server? server is empty")
	case !(a.Seconds >= 0 && a.Seconds <= maxSeconds):
		return nil, fmt.Errorf("seconds: %v is out of range", a.Seconds)
	case (a.Weight != nil) != (kind == director.SetWeight):
		return nil, errors.New("weight goes with the verb weight, and only with it")
	case kind == "":
		return nil, nil
	}
	o := &director.Override{Kind: kind, Reason: director.Clean(a.Reason), By: userName(p.UID), Since: now}
	end := now.Add(time.Duration(a.Seconds * float64(time.Second)))
	switch {
	case a.Seconds == 0:
	case kind == director.Drain:
		o.Deadline = end
	default:
		o.Until = end
	}
	if a.Weight != nil {
		o.Weight = *a.Weight
	}
	return o, o.Check()
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

func (d *Daemon) reloadVerb(ctx context.Context, _ control.Peer, args []byte) (any, error) {
	var a control.ReloadArgs
	if err := arguments(args, &a); err != nil {
		return nil, err
	}
	answer := make(chan reloadResult, 1)
	select {
	case d.reloads <- reload{force: a.Force, answer: answer}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case r := <-answer:
		return reloaded(r)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func reloaded(r reloadResult) (any, error) {
	var many *director.ErrTooManyRemoved
	var wrong config.Errors
	var nowhere *director.ErrNotHere
	switch {
	case errors.As(r.err, &nowhere):
		return nil, &control.Error{Code: control.Refused, Message: "reload refused: " + r.err.Error(), Hint: "nothing was changed; plane = \"auto\" takes the other plane"}
	case errors.As(r.err, &many):
		return nil, &control.Error{Code: control.Refused, Message: "reload refused: " + r.err.Error(), Hint: "goipvs reload --force, if it is meant"}
	case errors.As(r.err, &wrong):
		return nil, &control.Error{Code: control.BadConfig, Message: wrong.Error(), Hint: "nothing was changed"}
	case r.err != nil:
		return nil, r.err
	}
	return control.Reloaded{Added: r.Added, Removed: r.Removed, Changed: r.Changed, Kept: r.Kept, Warnings: r.warnings}, nil
}

// statusText is the line that systemctl status shows.
func (d *Daemon) statusText() string {
	text, err := d.dir.Brief()
	if err != nil {
		return "stopping"
	}
	return text
}

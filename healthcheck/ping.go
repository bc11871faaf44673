package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	probing "github.com/prometheus-community/pro-bing"
)

// ping sends ICMP echo requests, one each second until one is answered. It
// takes the unprivileged kind of socket (ping_group_range permitting), or else
// a raw one, which needs CAP_NET_RAW.
func ping(Check) (look, error) {
	return func(ctx context.Context, d *Dialer) error {
		if _, err := d.route(); err != nil { // the library would try for ever
			return err
		}
		d.Stage("waiting for an echo")
		err := echo(ctx, d, false)
		if errors.Is(err, os.ErrPermission) {
			if err = echo(ctx, d, true); errors.Is(err, os.ErrPermission) {
				return ours(fmt.Errorf("open an ICMP socket (needs net.ipv4.ping_group_range or CAP_NET_RAW): %w", err))
			}
		}
		return err
	}, nil
}

func echo(ctx context.Context, d *Dialer, raw bool) error {
	if ctx.Err() != nil { // the library would send all the same, and may hear an answer
		return context.DeadlineExceeded
	}
	to := d.Address().Addr()
	p := probing.New(to.String())
	p.SetIPAddr(&net.IPAddr{IP: to.AsSlice(), Zone: to.Zone()})
	p.SetPrivileged(raw)
	p.SetLogger(probing.NoopLogger{})
	p.SetMark(uint(d.Target.Mark))
	if d.Target.Source.IsValid() {
		p.Source = d.Target.Source.String()
	}
	// The context alone ends it: of a time limit that is over already the
	// library makes a ticker, which panics.
	var rtt time.Duration
	p.OnRecv = func(pkt *probing.Packet) {
		rtt = pkt.Rtt
		p.Stop()
	}
	if err := p.RunWithContext(ctx); err != nil && ctx.Err() == nil {
		d.Note("ping %v: %v", to, bare(err))
		return fmt.Errorf("ping %v: %w", to, bare(err))
	}
	if p.PacketsRecv == 0 {
		d.Note("ping %v: %d sent, none answered", to, p.PacketsSent)
		return context.DeadlineExceeded
	}
	d.Note("ping %v: answered after %v", to, rtt)
	return nil
}

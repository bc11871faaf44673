package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
)

// ask sends the requests from the client, each on a connection of its own, and
// counts the answers by server. No client port is used twice: the kernel keeps
// a closed connection for two minutes, and with direct routing, where it does
// not see the server's side, sends a new one from the same port after it.
func (d *demo) ask(ctx context.Context, want servers) (map[string]int, error) {
	client := http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				d.port++
				return d.net.Client.Dial(ctx, "tcp", netip.AddrPortFrom(netip.Addr{}, d.port), d.vip)
			},
		},
	}
	got := map[string]int{}
	d.say("client1# curl http://%s/   (%d times) ", d.vip, d.requests)
	for i := range d.requests {
		a, err := get(ctx, &client, "http://"+d.vip.String()+"/")
		if err != nil {
			return nil, fmt.Errorf("request %d: %w", i+1, err)
		}
		if err := want.answered(a, d.vip); err != nil {
			return nil, fmt.Errorf("request %d: %w", i+1, err)
		}
		got[a.Server]++
		if i%(d.requests/10+1) == 0 {
			d.say(".")
		}
	}
	d.say(" all answered\n")
	return got, nil
}

func get(ctx context.Context, client *http.Client, url string) (topo.Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return topo.Answer{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return topo.Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return topo.Answer{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return topo.Answer{}, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return topo.ParseAnswer(strings.TrimSpace(string(body)))
}

// answered checks that an answer comes from a server of the table, and that
// the request reached it as its forwarding method promises: under its own
// address and port with NAT, under the virtual ones otherwise.
func (s servers) answered(a topo.Answer, vip netip.AddrPort) error {
	i := slices.IndexFunc(s, func(r server) bool { return r.name == a.Server })
	if i < 0 {
		return fmt.Errorf("answered by %q, which is not in the table", a.Server)
	}
	want := vip
	if s[i].Method == "nat" {
		want = netip.AddrPortFrom(netip.MustParseAddr(s[i].Address), s[i].Port)
	}
	if a.Local != want {
		return fmt.Errorf("%s got the request at %s, not at %s", a.Server, a.Local, want)
	}
	return nil
}

// check holds what the servers served against their weights; one with weight 0
// must have got nothing, the others their share within a tenth of all requests:
// wlc goes by connections that are still remembered, not by turns.
func (s servers) check(got map[string]int, requests int) error {
	total := 0
	for _, r := range s {
		total += r.Weight
	}
	for _, r := range s {
		share := requests * r.Weight / total
		if r.Weight == 0 && got[r.name] != 0 || abs(got[r.name]-share) > requests/10 {
			return fmt.Errorf("%s has weight %d of %d and served %d of %d requests", r.name, r.Weight, total, got[r.name], requests)
		}
	}
	return nil
}

func abs(n int) int { return max(n, -n) }

// show prints who served how many.
func (d *demo) show(want servers, got map[string]int) {
	slices.SortFunc(want, func(a, b server) int { return strings.Compare(a.name, b.name) })
	d.say("\n  server  address             weight  served\n")
	for _, r := range want {
		d.say("  %-6s  %-18s  %6d  %6d  %s\n", r.name, netip.AddrPortFrom(netip.MustParseAddr(r.Address), r.Port), r.Weight,
			got[r.name], strings.Repeat("#", got[r.name]*40/d.requests))
	}
	d.say("\n")
}

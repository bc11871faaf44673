package fullnat_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
)

// mortal is an echo server that is killed at random and comes back at the same
// address.
type mortal struct {
	at    netip.AddrPort
	mu    sync.Mutex
	ln    net.Listener
	conns map[net.Conn]bool
}

func (m *mortal) live(t *testing.T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ln, err := net.Listen("tcp", m.at.String())
	if err != nil {
		t.Error(err)
		return
	}
	m.ln, m.conns = ln, map[net.Conn]bool{}
	m.at = ln.Addr().(*net.TCPAddr).AddrPort()
	conns := m.conns
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			conns[c] = true
			m.mu.Unlock()
			go func() {
				io.Copy(c, c)
				m.mu.Lock()
				delete(conns, c)
				m.mu.Unlock()
				c.Close()
			}()
		}
	}()
}

// die ends as a process that is killed does: what was not read is a RST for the
// peer, and nobody listens.
func (m *mortal) die() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ln.Close()
	for c := range m.conns {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

// Thousands of connections while servers are killed and come back and clients
// hang up: each client gets its own bytes, all of them, or hears of the failure;
// and in the end nothing is left.
func TestKills(t *testing.T) {
	n := newNetwork()
	var servers []*mortal
	for i := range byte(4) {
		m := &mortal{at: netip.AddrPortFrom(n.addr(11+i), 0)}
		m.live(t)
		t.Cleanup(m.die)
		servers = append(servers, m)
	}
	e := start(t, fullnat.Config{Loops: 2})
	var behind []*server
	for _, m := range servers {
		behind = append(behind, &server{addr: m.at})
	}
	s := tcpService(t, n.addr(1), "wlc", behind...)
	s.Options.Locals = n.locals(4)
	apply(t, e, s)
	const clients, each = 48, 50
	var served, cut, left atomic.Int64
	over := func() int64 { return served.Load() + cut.Load() + left.Load() }
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			for k := range each {
				switch err := roundTrip(s.Addr, rnd, fmt.Sprintf("client %d connection %d ", i, k)); {
				case err == nil:
					served.Add(1)
				case errors.Is(err, errHungUp):
					left.Add(1)
				case errors.Is(err, errOthers):
					t.Error(err)
				default:
					cut.Add(1)
				}
			}
		})
	}
	stop := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() {
		for i := 0; ; i++ { // a death for so many connections, however long these take
			for next := over() + 1 + rand.Int64N(80); over() < next; time.Sleep(time.Millisecond) {
				select {
				case <-stop:
					return
				default:
				}
			}
			m := servers[i%len(servers)]
			m.die()
			time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
			m.live(t)
		}
	})
	wg.Wait()
	close(stop)
	killer.Wait()
	t.Logf("%d connections served, %d cut by the end of their server, %d hung up; %+v", served.Load(), cut.Load(), left.Load(), e.Errors())
	if served.Load() < clients*each/4 {
		t.Errorf("%d of %d connections served", served.Load(), clients*each)
	}
	eventually(t, "all connections end", func() bool { return e.Conns() == 0 })
	checkEmpty(t, e)
}

var (
	errHungUp = errors.New("hung up")
	errOthers = errors.New("bytes that are not ours")
)

// roundTrip sends some bytes and wants them back. A clean end before the last is
// no end that a killed server has.
func roundTrip(to netip.AddrPort, rnd *rand.Rand, mark string) error {
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	sent := bytes.Repeat([]byte(mark), 1+rnd.IntN(2000))
	hangUp := rnd.IntN(10) == 0
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		if err == nil && !hangUp {
			err = c.(*net.TCPConn).CloseWrite()
		}
		wrote <- err
	}()
	if hangUp {
		c.(*net.TCPConn).SetLinger(rnd.IntN(2) - 1)
		c.Close()
		<-wrote
		return errHungUp
	}
	got, err := io.ReadAll(c)
	werr := <-wrote
	switch {
	case !bytes.HasPrefix(sent, got):
		return fmt.Errorf("%w: %d bytes for %q", errOthers, len(got), mark)
	case err == nil && werr == nil && len(got) < len(sent):
		return fmt.Errorf("%w: a clean end after %d of %d bytes for %q", errOthers, len(got), len(sent), mark)
	}
	return errors.Join(err, werr)
}

// A server may answer when and in what order it likes: answers go to those who
// asked.
func TestUDPReordering(t *testing.T) {
	n := newNetwork()
	type question struct {
		from netip.AddrPort
		text []byte
	}
	const clients, rounds = 20, 4
	var mu sync.Mutex
	var held []question
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.addr(11), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	hold := func(from netip.AddrPort, b []byte) {
		mu.Lock()
		defer mu.Unlock()
		held = append(held, question{from, bytes.Clone(b)})
	}
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			hold(from, b[:n])
		}
	}()
	e := start(t, fullnat.Config{Loops: 2})
	s := udpService(t, n.addr(1), "rr", c.LocalAddr().(*net.UDPAddr).AddrPort())
	s.Options.Locals = n.locals(2)
	apply(t, e, s)
	var asking []*net.UDPConn
	for range clients {
		asking = append(asking, udpClient(t, s.Addr))
	}
	for round := range rounds {
		for i, c := range asking {
			fmt.Fprintf(c, "%d %d", i, round)
		}
		count := func() int { mu.Lock(); defer mu.Unlock(); return len(held) }
		eventually(t, "all questions arrive", func() bool { return count() >= clients*(round+1) })
		if round%2 == 0 {
			continue // and those of the next round before them
		}
		mu.Lock()
		rand.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
		for _, q := range held {
			if _, err := c.WriteToUDPAddrPort(q.text, q.from); err != nil {
				t.Error(err)
			}
		}
		mu.Unlock()
		for i, c := range asking {
			var got, want []string
			for k := range round + 1 {
				want = append(want, fmt.Sprintf("%d %d", i, k))
				b := make([]byte, 100)
				c.SetReadDeadline(time.Now().Add(patience))
				n, err := c.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(b[:n]))
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("client %d got %q, want %q in any order", i, got, want)
			}
		}
	}
}

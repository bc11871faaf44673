package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipvs/goipvs/director/control"
)

// TestUpgrades: twenty processes follow each other while clients come and go,
// streams go on, and datagrams are answered. Nobody is refused or reset, and
// nothing is lost.
func TestUpgrades(t *testing.T) {
	const upgrades = 20
	h := newHouse(t)
	pid := h.start()
	load := newLoad(h)
	first, pids, files := pid, []int{pid}, 0
	for i := range upgrades {
		load.moves()
		pid = h.upgraded(pid)
		pids = append(pids, pid)
		if i == 1 {
			load.moves()
			files = descriptors(pid)
		}
	}
	load.moves()
	if !h.running(first) {
		t.Error("the first process has ended, and the streams with it")
	}
	load.streamsEnd()
	for _, p := range pids[:upgrades] {
		h.ends(p)
	}
	load.end()
	h.await("the last process has as many descriptors as the second", func() bool { return descriptors(pid) <= files })
}

// load is what clients do meanwhile.
type load struct {
	*house
	stop, streamStop atomic.Bool
	all, streams     sync.WaitGroup
	count            [3]atomic.Int64 // connections, numbers of streams, datagrams
}

func newLoad(h *house) *load {
	l := &load{house: h}
	for range 4 {
		l.all.Go(func() { l.connect() })
	}
	for range 3 {
		l.streams.Go(func() { l.stream() })
		l.all.Go(func() { l.datagrams() })
	}
	h.Cleanup(l.end)
	return l
}

// end ends all clients, whose errors are the test's.
func (l *load) end() {
	l.streamsEnd()
	l.stop.Store(true)
	l.all.Wait()
}

func (l *load) streamsEnd() {
	l.streamStop.Store(true)
	l.streams.Wait()
}

// moves waits until every kind of client has been served once more.
func (l *load) moves() {
	l.Helper()
	for i := range l.count {
		was := l.count[i].Load()
		l.await("clients are served", func() bool { return l.count[i].Load() > was+5 || l.Failed() })
	}
	if l.Failed() {
		l.FailNow()
	}
}

func (l *load) connect() {
	for !l.stop.Load() {
		if err := echoOnce(l.tcp); err != nil {
			l.Errorf("connection %d: %v", l.count[0].Load(), err)
			return
		}
		l.count[0].Add(1)
	}
}

func (l *load) stream() {
	c, err := net.DialTimeout("tcp", l.tcp, patience)
	if err != nil {
		l.Errorf("stream: %v", err)
		return
	}
	defer c.Close()
	for n := uint64(1); !l.streamStop.Load(); n++ {
		if err := number(c, n); err != nil {
			l.Errorf("stream: %v", err)
			return
		}
		l.count[1].Add(1)
		time.Sleep(time.Millisecond)
	}
}

// datagrams sends one after the other from one socket; each must be answered.
func (l *load) datagrams() {
	c, err := net.Dial("udp", l.udp)
	if err != nil {
		l.Errorf("datagrams: %v", err)
		return
	}
	defer c.Close()
	for n := uint64(1); !l.stop.Load(); n++ {
		if err := number(c, n); err != nil {
			l.Errorf("datagram: %v", err)
			return
		}
		l.count[2].Add(1)
	}
}

// number sends a number and waits for it.
func number(c net.Conn, n uint64) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	if _, err := c.Write(b[:]); err != nil {
		return fmt.Errorf("number %d: %w", n, err)
	}
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return fmt.Errorf("number %d: %w", n, err)
	}
	if got := binary.BigEndian.Uint64(b[:]); got != n {
		return fmt.Errorf("number %d came back as %d", n, got)
	}
	return nil
}

// TestUpgradeFails: whatever is wrong with the new program or its file, the old
// process goes on as if nothing had been asked, says what it was, and the next
// upgrade works.
func TestUpgradeFails(t *testing.T) {
	h := newHouse(t)
	h.env = []string{stepPatience + "=20s"}
	pid := h.start()
	load := newLoad(h)
	load.moves()
	files := descriptors(pid)
	program, err := os.Readlink(h.path("goipvsd"))
	h.must(err)
	replace := func(text string) {
		h.must(os.WriteFile(h.path("new"), []byte(text), 0o700))
		h.must(os.Rename(h.path("new"), h.path("goipvsd")))
	}
	for _, c := range []struct {
		name, want string
		breaks     func()
	}{
		{"no program", "exec format error", func() { replace("\x7fELF of another machine") }},
		{"another program", "the new process ended before it ", func() { replace("#!/bin/sh\nexit 3\n") }},
		{"no file", "no such file", func() { h.must(os.Remove(h.path("goipvsd"))) }},
		{"a broken file", "goipvs.toml:", func() { h.file("nonsense = 1") }},
		{"another socket", "stop goipvsd and start it", func() {
			b, err := os.ReadFile(h.path("goipvs.toml"))
			h.must(err)
			h.must(os.WriteFile(h.path("goipvs.toml"), []byte(strings.Replace(string(b), "/sock", "/other", 1)), 0o600))
		}},
	} {
		c.breaks()
		status, out := h.ask()
		if status != failed || !strings.Contains(out, c.want) || !strings.Contains(out, fmt.Sprintf("process %d goes on", pid)) {
			t.Errorf("%s: status %d: %s, want %q", c.name, status, out, c.want)
		}
		h.file("")
		_ = os.Remove(h.path("goipvsd"))
		h.must(os.Symlink(program, h.path("goipvsd")))
		load.moves()
	}
	if n := strings.Count(h.said(), "event=upgrade_failed"); n < 5 {
		t.Errorf("%d failures are in the log, want 5", n)
	}
	h.await("the old process has as many descriptors as before", func() bool { return descriptors(pid) <= files })
	pid = h.upgraded(pid)
	load.moves()
	load.end()
}

// TestUpgradeHangs: a new process that hangs at any step is ended.
func TestUpgradeHangs(t *testing.T) {
	h := newHouse(t)
	h.env = []string{stepPatience + "=3s"}
	pid := h.start()
	load := newLoad(h)
	for step, want := range map[string]string{"prepared": "not ready", "inherited": "not ready", "ready": "not taken", "going": "not taken"} {
		h.must(os.WriteFile(h.path("step"), []byte("hang "+step), 0o600))
		load.moves()
		status, out := h.upgrade()
		if status != failed || !strings.Contains(out, want) {
			t.Errorf("hung when %s: status %d: %s, want %q", step, status, out, want)
		}
		h.await("only the old process is left", func() bool { h.reap(pid); return slices.Equal(h.children(), []int{pid}) })
		load.moves()
	}
	h.must(os.Remove(h.path("step")))
	h.env = nil
	load.end()
}

// TestUpgradeTwice: of two upgrades at once one is made.
func TestUpgradeTwice(t *testing.T) {
	h := newHouse(t)
	pid := h.start()
	load := newLoad(h)
	load.moves()
	outs := make(chan string, 8)
	var all sync.WaitGroup
	for range cap(outs) {
		all.Go(func() { _, out := h.upgrade(); outs <- out })
	}
	all.Wait()
	close(outs)
	made := 0
	for out := range outs {
		if strings.Contains(out, "has taken the place") {
			made++
		} else if !strings.Contains(out, "an upgrade is under way") && !strings.Contains(out, "just been upgraded") && !strings.Contains(out, "goipvsd: ") {
			t.Errorf("%s", out)
		}
	}
	if made == 0 {
		t.Error("none was made")
	}
	now, _ := h.holder()
	if now == pid {
		t.Error("the first process still has the lock")
	}
	load.moves()
	load.end()
}

// TestUpgradeDeaths: kill -9 of either process at every step. Whoever is left
// serves: of the new one's death no client knows, of the old one's those that
// it had.
func TestUpgradeDeaths(t *testing.T) {
	for _, c := range []struct {
		step string
		old  bool // the old process dies
	}{
		{"prepared", false}, {"inherited", false}, {"ready", false}, {"going", false},
		{"spawned", true}, {"hello", true}, {"yielded", true}, {"state", true}, {"paused", true}, {"go", true}, {"taken", true},
	} {
		t.Run(c.step, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			pid := h.start()
			var load *load
			if !c.old {
				load = newLoad(h)
				load.moves()
			}
			h.must(os.WriteFile(h.path("step"), []byte("kill "+c.step), 0o600))
			status, out := h.upgrade()
			h.must(os.Remove(h.path("step")))
			if c.old {
				h.ends(pid)
				h.await("another process has the lock", func() bool { now, is := h.holder(); return is && now != pid })
				h.awaitServing()
				var st control.Status
				h.await("it answers", func() bool { return h.do("status", &st) == nil })
				pid = st.PID
				h.watch(pid)
			} else {
				if status != failed || !strings.Contains(out, "ended before it") {
					t.Errorf("status %d: %s", status, out)
				}
				load.moves()
			}
			pid = h.upgraded(pid)
			h.awaitServing()
			if load != nil {
				load.end()
			}
		})
	}
}

// TestUpgradeWithoutSocket: the socket that the next process gets is the one that
// clients find, also when somebody removed it before, and again afterwards.
func TestUpgradeWithoutSocket(t *testing.T) {
	h := newHouse(t)
	pid := h.start()
	for range 2 {
		h.must(os.Remove(h.path("sock")))
		h.must(os.Remove(h.path("sock.lock")))
		h.await("the control socket is made anew", func() bool { _, is := h.holder(); return is && h.do("status", nil) == nil })
		pid = h.upgraded(pid)
		if now, _ := h.holder(); now != pid {
			t.Errorf("process %d has the lock, not %d", now, pid)
		}
		h.must(h.do("status", nil))
	}
}

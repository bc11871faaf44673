package healthcheck

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/evil"
	"github.com/goipvs/goipvs/internal/testserver"
)

// TestEvil holds every type of check against every hostile server: it is down,
// never unknown, in time, with little memory, and nothing is left behind.
func TestEvil(t *testing.T) {
	behaviours := evilBehaviours(t)
	for _, kind := range Types() {
		t.Run(kind, func(t *testing.T) {
			if len(samples[kind]) == 0 {
				t.Fatal("no row in samples_test.go")
			}
			withoutLeak(t, func() {
				var all sync.WaitGroup
				for _, s := range samples[kind] {
					s.check.Type = kind
					if s.udp {
						againstReplies(t, s, &all)
					} else {
						againstBehaviours(t, s, behaviours, &all)
					}
				}
				all.Wait()
			})
		})
	}
}

func evilBehaviours(t *testing.T) []evil.Behaviour {
	pair := testserver.NewAuthority(t).Issue(t, time.Time{}, "evil.example")
	cert, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	all := evil.Behaviours()
	for _, b := range evil.Behaviours() {
		all = append(all, evil.InTLS(b, cert))
	}
	return all
}

const (
	evilDeadline = 200 * time.Millisecond
	// evilSlack is what a busy machine may add; one that drips takes minutes.
	evilSlack = 20 * time.Second
	// evilMemory is for all behaviours together, each of which would like to
	// have more than that.
	evilMemory = 64 << 20
)

func againstBehaviours(t *testing.T, s sample, behaviours []evil.Behaviour, all *sync.WaitGroup) {
	for _, b := range behaviours {
		addr, stop := evil.Serve(t, b)
		all.Go(func() {
			defer stop()
			survive(t, s, addr, b.Name)
		})
	}
}

func againstReplies(t *testing.T, s sample, all *sync.WaitGroup) {
	for _, r := range evil.Replies() {
		addr, stop := evil.ServeUDP(t, r)
		all.Go(func() {
			defer stop()
			survive(t, s, addr, r.Name)
		})
	}
}

// survive makes the check once. It may be called beside the test's goroutine.
func survive(t *testing.T, s sample, addr netip.AddrPort, name string) {
	p, err := prepareCheck(s.check)
	if err != nil {
		t.Errorf("sample: %v", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), evilDeadline)
	defer cancel()
	var left int64
	once := prepared{check: p.check, look: func(ctx context.Context, d *Dialer) error {
		defer func() { left = d.budget.read.Load() }()
		return p.look(ctx, d)
	}}
	res := once.run(ctx, Target{Real: addr})
	if left < 0 {
		t.Errorf("a server that %s: %d bytes over the budget", name, -left)
	}
	if res.Took > evilDeadline+evilSlack {
		t.Errorf("a server that %s held the check for %v", name, res.Took)
	}
	if got := Judge(res.Err); got != Down && !s.easy {
		t.Errorf("a server that %s is %v, not down: %v\n%s", name, got, res.Err, res.Transcript)
	}
	if len(res.Transcript) > maxTranscript+100 {
		t.Errorf("a server that %s: a transcript of %d bytes", name, len(res.Transcript))
	}
}

// withoutLeak runs f, which must not allocate much in all, and after which no
// goroutine and no file of a check is left.
func withoutLeak(t *testing.T, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	files := openFiles(t)
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > evilMemory {
		t.Errorf("allocated %d MiB", used>>20)
	}
	var left string
	for deadline := time.Now().Add(evilSlack); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if left = checksRunning(); left == "" {
			if n := openFiles(t) - files; n > 0 {
				left = fmt.Sprintf("%d open files", n)
				continue
			}
			return
		}
	}
	t.Errorf("left behind:\n%s", left)
}

// checksRunning lists the goroutines that are neither of the runtime nor of the
// test itself.
func checksRunning() string {
	buf := make([]byte, 4<<20)
	var left []string
	for g := range bytes.SplitSeq(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
		text := string(g)
		if !strings.Contains(text, "testing.") && !strings.Contains(text, "os/signal") {
			left = append(left, text)
		}
	}
	if len(left) == 0 {
		return ""
	}
	return fmt.Sprintf("%d goroutines\n%s", len(left), strings.Join(left, "\n\n"))
}

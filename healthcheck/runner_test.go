package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errSick = errors.New("sick")

// bench is a runner in fake time, and servers that are what a test says.
type bench struct {
	*Runner
	t *testing.T

	mu     sync.Mutex
	faults map[string]error
	starts map[string][]time.Duration // when each server was looked at
	took   time.Duration              // by each look
	began  time.Time
}

// inFakeTime runs a test with a runner that is stopped at its end.
func inFakeTime(t *testing.T, o Options, f func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{Runner: NewRunner(o), t: t, faults: map[string]error{}, starts: map[string][]time.Duration{}, began: time.Now()}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			b.Run(ctx)
			close(done)
		}()
		f(b)
		cancel()
		<-done
	})
}

func (b *bench) subject(id string, s Schedule) Subject {
	return Subject{ID: id, Schedule: s, Probe: func(ctx context.Context) error {
		b.mu.Lock()
		b.starts[id] = append(b.starts[id], time.Since(b.began))
		err, took := b.faults[id], b.took
		b.mu.Unlock()
		select {
		case <-time.After(took):
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
}

func (b *bench) replace(subjects ...Subject) {
	b.t.Helper()
	if err := b.Replace(subjects); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) set(id string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults[id] = err
}

// after lets time pass and expects a verdict.
func (b *bench) after(d time.Duration, id string, want Verdict) {
	b.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	got, ok := b.Status(id)
	if !ok || got.Verdict != want {
		b.t.Errorf("after %v: %v (%v), want %v", time.Since(b.began), got.Verdict, got.Reason, want)
	}
}

func (b *bench) looks(id string) []time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]time.Duration(nil), b.starts[id]...)
}

// TestRiseAndFall: a server that fails three times in a row is down, and needs
// two successes to come back.
func TestRiseAndFall(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		b.replace(b.subject("a", Schedule{Interval: 2 * time.Second, Rise: 2, Fall: 3}))
		b.after(2*time.Second, "a", Up) // the first result is the verdict
		b.set("a", errSick)
		b.after(4*time.Second, "a", Up)
		b.after(2*time.Second, "a", Down)
		b.set("a", nil)
		b.after(2*time.Second, "a", Down)
		b.after(2*time.Second, "a", Up)
	})
}

// TestOneFailureBetween: failures count in a row only.
func TestOneFailureBetween(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		b.replace(b.subject("a", Schedule{Interval: time.Second, Fall: 2}))
		b.after(time.Second, "a", Up)
		for range 10 {
			b.set("a", errSick)
			b.after(time.Second, "a", Up)
			b.set("a", nil)
			b.after(time.Second, "a", Up)
		}
	})
}

// TestFastInterval: from the first failure to the verdict checks are made
// faster, and after it not.
func TestFastInterval(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		b.replace(b.subject("a", Schedule{Interval: time.Minute, FastInterval: time.Second, Fall: 3}))
		b.after(time.Minute, "a", Up)
		b.set("a", errSick)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		at := b.looks("a")
		if len(at) < 5 || at[2]-at[1] != time.Second || at[3]-at[2] != time.Second || at[4]-at[1] != time.Minute {
			t.Errorf("looks at %v", at)
		}
	})
}

// TestOwnTrouble: trouble of our own makes a verdict unknown, and what was
// known and counted stays.
func TestOwnTrouble(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		b.replace(b.subject("a", Schedule{Interval: time.Second, Fall: 2}))
		b.after(time.Second, "a", Up)
		b.set("a", errSick)
		b.after(time.Second, "a", Up)
		b.set("a", ours(errors.New("no files left")))
		b.after(time.Minute, "a", Unknown)
		if s, _ := b.Status("a"); s.Known != Up || s.Failures != 1 || s.Class != "own" || s.Reason != "no files left" {
			t.Errorf("%+v", s)
		}
		b.set("a", errSick)
		b.after(time.Second, "a", Down)
	})
}

// TestPanic: a probe that panics hurts nobody, and says nothing of its server.
func TestPanic(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		s := b.subject("a", Schedule{Interval: time.Second})
		s.Probe = func(context.Context) error { panic("oh") }
		b.replace(s, b.subject("b", Schedule{Interval: time.Second}))
		b.after(3*time.Second, "a", Unknown)
		b.after(0, "b", Up)
		if got, _ := b.Status("a"); !strings.Contains(got.Reason, "panic in the check: oh") {
			t.Errorf("reason %q", got.Reason)
		}
	})
}

// TestStart: a server found serving is up until its checks say otherwise, by
// the full number of failures; one never checked is down at its first failure.
func TestStart(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		every := Schedule{Interval: time.Second, Fall: 2}
		adopted := b.subject("adopted", every)
		adopted.Start = Up
		b.set("adopted", errSick)
		b.set("new", errSick)
		b.replace(adopted, b.subject("new", every))
		b.after(0, "adopted", Up)
		b.after(0, "new", Unknown)
		b.Take()
		b.after(time.Second, "adopted", Up)
		if news := b.Take(); len(news) != 2 {
			t.Errorf("%d subjects are news, want both: they were looked at for the first time", len(news))
		}
		b.after(0, "new", Down)
		b.after(time.Second, "adopted", Down)
	})
}

// unwatched skips a test under the race detector, whose own runtime (Go 1.26)
// dies of so many goroutines and timers in fake time: "CHECK failed:
// tsan_rtl.cpp:346". make test runs these tests once more without it.
func unwatched(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("too much for the race detector; make test runs it without")
	}
}

// TestScaleSpread: the first checks are spread over the interval, or over less, and
// the next ones follow in each one's place, a few of them early by jitter.
func TestScaleSpread(t *testing.T) {
	unwatched(t)
	const servers, interval = 1000, 10 * time.Second
	for _, o := range []Options{{}, {Spread: time.Second}, {Apart: time.Millisecond}, {Apart: time.Hour, Spread: time.Second}} {
		spread := time.Second
		if o.Spread == 0 && o.Apart == 0 {
			spread = interval
		}
		inFakeTime(t, o, func(b *bench) {
			var list []Subject
			for i := range servers {
				list = append(list, b.subject(fmt.Sprint(i), Schedule{Interval: interval, Jitter: 0.05}))
			}
			b.replace(list...)
			time.Sleep(10*interval - time.Millisecond)
			synctest.Wait()
			first := make([]int, 10) // in each tenth of the time they are spread over
			for _, s := range list {
				at := b.looks(s.ID)
				first[min(9, int(10*at[0]/spread))]++
				for i := 1; i < len(at); i++ {
					if gap := at[i] - at[i-1]; gap > interval+interval/20+tick || i > 1 && gap < interval-interval/20-tick {
						t.Fatalf("%v between two looks: %v", gap, at)
					}
				}
				least := 1 + int((10*interval-at[0])/(interval+tick)) // 9 after a first one at the very end of its interval
				most := 11                                            // the last one early
				if spread < interval {
					most = 12 // and the first one beside its own place
				}
				if len(at) < least || len(at) > most {
					t.Fatalf("%d looks in 10 intervals, want %d to %d: %v", len(at), least, most, at)
				}
			}
			for i, n := range first {
				if n < servers/20 || n > servers/5 {
					t.Errorf("%d of %d first looks in tenth %d of the time", n, servers, i)
				}
			}
		})
	}
}

// TestJitter: checks come early at random, by up to the jitter's share of their
// interval and never late, and without jitter just in time.
func TestJitter(t *testing.T) {
	const looks, interval = 300, 10 * time.Second
	for _, jitter := range []float64{0, .1, .5, 1} {
		inFakeTime(t, Options{}, func(b *bench) {
			b.replace(b.subject("a", Schedule{Interval: interval, Jitter: jitter}))
			time.Sleep(looks * interval)
			synctest.Wait()
			at, most := b.looks("a"), time.Duration(jitter*float64(interval))
			if n := len(at); n < looks || n > looks+1 {
				b.t.Fatalf("jitter %v: %d looks in %d intervals", jitter, n, looks)
			}
			least, largest := interval, time.Duration(0)
			for i := range at[:looks-1] {
				early := at[0] + time.Duration(i+1)*interval - at[i+1]
				least, largest = min(least, early), max(largest, early)
			}
			if least < 0 || least > most/10 || largest > most || largest < most-most/10 {
				t.Errorf("jitter %v: early by %v to %v, want all from 0 to %v", jitter, least, largest, most)
			}
		})
	}
}

// TestFewBeginSoon: one more server waits only for its own first check.
func TestFewBeginSoon(t *testing.T) {
	inFakeTime(t, Options{Apart: time.Millisecond}, func(b *bench) {
		var list []Subject
		for i := range 1000 {
			list = append(list, b.subject(fmt.Sprint(i), Schedule{Interval: 10 * time.Second}))
		}
		b.replace(list...)
		time.Sleep(5 * time.Second)
		b.replace(append(list, b.subject("one more", Schedule{Interval: 10 * time.Second}))...)
		time.Sleep(tick + 2*time.Millisecond)
		synctest.Wait()
		if len(b.looks("one more")) == 0 { // twice where its place in the interval is near the beginning
			t.Error("not looked at")
		}
	})
}

// TestFirstAlone: the first check of a new server, for which somebody waits, does
// not have others made for company that are due a while later.
func TestFirstAlone(t *testing.T) {
	inFakeTime(t, Options{Apart: time.Millisecond}, func(b *bench) {
		every := Schedule{Interval: 10 * time.Second}
		old := b.subject("old", every)
		b.replace(old)
		time.Sleep(every.Interval)
		before := b.looks("old")
		next := before[len(before)-1] + every.Interval
		time.Sleep(next - tick/2 - time.Since(b.began))
		b.replace(old, b.subject("new", every))
		b.after(tick/4, "new", Up)
		if at := b.looks("old"); len(at) != len(before) {
			t.Errorf("the old server was looked at after %v", at)
		}
	})
}

// TestInFlight: never more checks at once than allowed; none is lost or made
// twice when they pile up, late ones are counted.
func TestInFlight(t *testing.T) {
	inFakeTime(t, Options{InFlight: 10}, func(b *bench) {
		b.took = 900 * time.Millisecond
		var now, most atomic.Int64
		var list []Subject
		for i := range 100 {
			s := b.subject(fmt.Sprint(i), Schedule{Interval: time.Second, Timeout: time.Second})
			inner := s.Probe
			s.Probe = func(ctx context.Context) error {
				n := now.Add(1)
				defer now.Add(-1)
				for {
					if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
						break
					}
				}
				return inner(ctx)
			}
			list = append(list, s)
		}
		b.replace(list...)
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if most.Load() != 10 {
			t.Errorf("%d at once, want 10", most.Load())
		}
		s := b.Stats()
		if s.Late == 0 || s.Skipped == 0 || s.InFlight > 10 {
			t.Errorf("%+v", s)
		}
		for _, sub := range list { // all get their turn: 100 x 0.9 s by 10 is 9 s a round
			if n := len(b.looks(sub.ID)); n < 9 || n > 11 {
				t.Errorf("server %s had %d looks", sub.ID, n)
			}
		}
	})
}

// TestSlowDoesNotDelay: a server that takes all of its time delays no other.
func TestSlowDoesNotDelay(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		slow := b.subject("slow", Schedule{Interval: time.Second, Timeout: 30 * time.Second})
		slow.Probe = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		b.replace(slow, b.subject("fast", Schedule{Interval: time.Second}))
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(b.looks("fast")); n != 60 {
			t.Errorf("%d looks in 60 s", n)
		}
		if s := b.Stats(); s.Skipped < 25 || s.Late > 0 {
			t.Errorf("%+v", s)
		}
		if s, _ := b.Status("slow"); s.Class != "timeout" || s.Verdict != Down {
			t.Errorf("%+v", s)
		}
	})
}

// TestSilentEachInterval: a server that never answers is asked each interval, also
// when that is over before the check is known to have ended.
func TestSilentEachInterval(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		silent := b.subject("silent", Schedule{Interval: 2 * time.Second, Timeout: 2 * time.Second})
		looks := 0
		silent.Probe = func(ctx context.Context) error {
			looks++
			<-ctx.Done()
			time.Sleep(time.Millisecond)
			return ctx.Err()
		}
		b.replace(silent)
		time.Sleep(time.Minute)
		synctest.Wait()
		if looks < 29 || looks > 31 {
			t.Errorf("%d looks in 60 s", looks)
		}
	})
}

// TestReplace: what is known of a server stays by its ID, also with another
// check; those that are left out end.
func TestReplace(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		every := Schedule{Interval: time.Second}
		b.set("b", errSick)
		b.replace(b.subject("a", every), b.subject("b", every))
		b.after(time.Second, "a", Up)
		b.after(0, "b", Down)
		slower := Schedule{Interval: time.Minute}
		b.replace(b.subject("b", slower), b.subject("c", every))
		b.after(0, "b", Down)
		if _, ok := b.Status("a"); ok {
			t.Error("a is still there")
		}
		before := len(b.looks("a"))
		b.after(time.Minute, "c", Up)
		if len(b.looks("a")) != before {
			t.Error("a is still looked at")
		}
		at := b.looks("b") // once each second, then once in a minute, or a little earlier beside c
		if len(at) < 2 || len(at) > 3 || len(at) == 3 && at[2]-at[1] < time.Minute-tick {
			t.Errorf("b was looked at after %v", at)
		}
		b.Remove("c")
		if s := b.Stats(); s.Subjects != 1 || s.Jobs != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestReplaceAllOrNothing: when one check is wrong, nothing changes, and all
// that is wrong is told.
func TestReplaceAllOrNothing(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		every := Schedule{Interval: time.Second}
		b.replace(b.subject("a", every))
		err := b.Replace([]Subject{
			b.subject("b", every),
			{ID: "x", Check: Check{Type: "htpp"}},
			{ID: "y", Check: Check{Type: "http", Receive: "("}},
			{ID: "z", Check: Check{Type: "connect", Login: "me"}},
			{ID: "b", Check: Check{Type: "on"}},
			b.subject("q", Schedule{Jitter: 2}),
		})
		for _, want := range []string{`x: check type "htpp" is not known`, "y: check http: receive:", "z: check connect: login is not used", "b: twice", "q: check schedule: jitter"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v\nwants %q", err, want)
			}
		}
		b.after(time.Second, "a", Up)
		if s := b.Stats(); s.Subjects != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestEqualChecksOnce: servers of several services that are checked alike are
// checked once, and all hear of it; they part when one's check changes.
func TestEqualChecksOnce(t *testing.T) {
	r := NewRunner(Options{})
	subject := func(id string, vip byte, path string) Subject {
		return Subject{ID: id, Check: Check{Type: "http", Request: path}, Target: Target{
			Real: loopback(80).Real, Virtual: loopback(uint16(vip)).Real, Protocol: "tcp",
		}}
	}
	jobs := func(want int, subjects ...Subject) {
		t.Helper()
		if err := r.Replace(subjects); err != nil {
			t.Fatal(err)
		}
		if s := r.Stats(); s.Jobs != want || s.Subjects != len(subjects) {
			t.Errorf("%+v, want %d jobs for %d subjects", s, want, len(subjects))
		}
	}
	a, b, c := subject("a", 1, "/"), subject("b", 2, "/"), subject("c", 3, "/other")
	jobs(2, a, b, c)
	b.Check.Request = "/other"
	jobs(2, a, b, c)
	a.Check.Request = "/other"
	jobs(1, a, b, c)
	a.Check.Via = ViaPath // now the service matters
	b.Check.Via = ViaPath
	jobs(3, a, b, c)
	jobs(0)
}

// TestShared: of two subjects that share a check, both are told, and the second
// begins with what is known.
func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			r.Run(ctx)
			close(done)
		}()
		on := func(id string) Subject {
			return Subject{ID: id, Check: Check{Type: "on"}, Target: loopback(80)}
		}
		if err := r.Add(on("a"), on("b")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		<-r.Changed()
		if got := r.Take(); len(got) != 2 || got[0].Verdict != Up || got[1].Verdict != Up {
			t.Errorf("%+v", got)
		}
		if err := r.Add(on("c")); err != nil {
			t.Fatal(err)
		}
		<-r.Changed()
		if got := r.Take(); len(got) != 1 || got[0].ID != "c" || got[0].Verdict != Up {
			t.Errorf("%+v", got)
		}
		cancel()
		<-done
	})
}

// TestStartShared: of two services with the same server, one was found serving
// it and the other not. They share its check, and not their start.
func TestStartShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			r.Run(ctx)
			close(done)
		}()
		off := func(id string, start Verdict) Subject {
			return Subject{ID: id, Check: Check{Type: "off"}, Target: loopback(80), Schedule: Schedule{Interval: time.Second, Fall: 3}, Start: start}
		}
		if err := r.Replace([]Subject{off("new", Unknown), off("found", Up)}); err != nil {
			t.Fatal(err)
		}
		expect := func(after time.Duration, isNew, found Verdict) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			a, _ := r.Status("new")
			b, _ := r.Status("found")
			if a.Known != isNew || b.Known != found || a.Verdict != isNew || b.Verdict != found {
				t.Errorf("new %v %v, found %v %v, want %v and %v", a.Verdict, a.Known, b.Verdict, b.Known, isNew, found)
			}
		}
		if s := r.Stats(); s.Jobs != 1 {
			t.Errorf("%d checks for one server", s.Jobs)
		}
		expect(0, Unknown, Up)
		expect(time.Second, Down, Up)
		expect(time.Second, Down, Up)
		r.Take()
		expect(time.Second, Down, Down)
		news := r.Take()
		if len(news) != 2 {
			t.Errorf("%d subjects are news", len(news))
		}
		cancel()
		<-done
	})
}

// TestScaleMany: 10,000 servers, a tenth of which never answer, are each
// looked at in time.
func TestScaleMany(t *testing.T) {
	unwatched(t)
	inFakeTime(t, Options{}, func(b *bench) {
		const servers = 10000
		list := make([]Subject, servers)
		for i := range list {
			list[i] = b.subject(fmt.Sprint(i), Schedule{Interval: 5 * time.Second, Jitter: 0.05})
			if i%10 == 0 {
				list[i].Probe = func(ctx context.Context) error {
					<-ctx.Done()
					return ctx.Err()
				}
			}
		}
		b.replace(list...)
		time.Sleep(26 * time.Second)
		synctest.Wait()
		s := b.Stats()
		if s.Late != 0 || s.Lag.Most > tick || s.Checks < 4*servers {
			t.Errorf("%+v", s)
		}
		for i := range list {
			want := Up
			if i%10 == 0 {
				want = Down
			}
			if got, _ := b.Status(list[i].ID); got.Verdict != want {
				t.Fatalf("%s is %v, want %v", list[i].ID, got.Verdict, want)
			}
		}
	})
}

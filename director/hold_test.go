package director

import (
	"slices"
	"testing"
	"time"
)

// TestHold: when nearly everything fails at once the last state is kept,
// until it is over or has lasted too long.
func TestHold(t *testing.T) {
	tests := []struct {
		name            string
		n, fail         int
		unchecked       int           // more servers
		apart           time.Duration // between failures
		share           float64
		want, wantLater int // held now, and after ten windows
	}{
		{"nine of ten", 10, 9, 0, 0, 0.8, 9, 0},
		{"eight of ten", 10, 8, 0, 0, 0.8, 0, 0},
		{"all that were checked, but not nearly all", 8, 8, 2, 0, 0.8, 0, 0},
		{"too few to tell", 2, 2, 0, 0, 0.8, 0, 0},
		{"too few to tell, by any share", 2, 2, 0, 0, 0.1, 0, 0},
		{"just enough to tell", 3, 3, 0, 0, 0.8, 3, 0},
		{"one after the other over a long time", 10, 10, 0, 5 * time.Second, 0.8, 0, 0},
		{"one after the other within the window", 10, 10, 0, 1 * time.Second, 0.8, 10, 0},
		{"never hold", 10, 10, 0, 0, 1, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &Hold{Share: tt.share, Window: 15 * time.Second}
			var all []*Server
			for range tt.n {
				s := &Server{}
				s.Observe(t0, Up, "")
				all = append(all, s)
			}
			for range tt.unchecked {
				all = append(all, &Server{})
			}
			now := t0
			for _, s := range all[:tt.fail] {
				now = now.Add(tt.apart)
				s.Observe(now, Down, "timeout")
				h.Update(now, slices.Values(all))
			}
			if got := held(all); got != tt.want {
				t.Errorf("held %d, want %d", got, tt.want)
			}
			h.Update(now.Add(140*time.Second), slices.Values(all))
			if got := held(all); got != tt.want {
				t.Errorf("held %d before ten windows are over, want %d", got, tt.want)
			}
			h.Update(now.Add(151*time.Second), slices.Values(all))
			h.Update(now.Add(152*time.Second), slices.Values(all))
			if got := held(all); got != tt.wantLater {
				t.Errorf("held %d later, want %d", got, tt.wantLater)
			}
		})
	}
}

// TestHoldWindowIsTheServers: what is one interval is told by the checks that a
// server has, not by the defaults for checks.
func TestHoldWindowIsTheServers(t *testing.T) {
	for _, tt := range []struct {
		name              string
		window            time.Duration
		apart             time.Duration
		want              int
		holds, isBelieved time.Duration
	}{
		{"slow checks", time.Minute, 10 * time.Second, 4, 9 * time.Minute, 10 * time.Minute},
		{"quick checks, one after the other", 2 * time.Second, 3 * time.Second, 0, 0, 0},
		{"quick checks, at once", 2 * time.Second, 0, 4, 19 * time.Second, 20 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &Hold{Share: 0.5, Window: 15 * time.Second}
			all := []*Server{{}, {}, {}, {}}
			now := t0
			for _, s := range all {
				s.Window = tt.window
				s.Observe(t0, Up, "")
			}
			for _, s := range all {
				s.Observe(now, Down, "timeout")
				h.Update(now, slices.Values(all))
				now = now.Add(tt.apart)
			}
			if got := held(all); got != tt.want {
				t.Fatalf("held %d, want %d", got, tt.want)
			}
			since, on := h.Active()
			if !on {
				return
			}
			if h.Update(since.Add(tt.holds), slices.Values(all)); held(all) != tt.want {
				t.Errorf("held %d after %v, want %d", held(all), tt.holds, tt.want)
			}
			if h.Update(since.Add(tt.isBelieved), slices.Values(all)); held(all) != 0 {
				t.Errorf("held %d after %v, want none", held(all), tt.isBelieved)
			}
		})
	}
}

// TestHoldEnds: servers that come back end it, and those still silent are then
// believed.
func TestHoldEnds(t *testing.T) {
	h := &Hold{Share: 0.5, Window: 15 * time.Second}
	all := []*Server{{}, {}, {}, {}}
	for _, s := range all {
		s.Observe(t0, Up, "")
		s.Observe(t0, Down, "timeout")
	}
	if !h.Update(t0, slices.Values(all)) || held(all) != 4 {
		t.Fatalf("held %d, want all", held(all))
	}
	for _, s := range all[:2] {
		s.Observe(t0.Add(time.Minute), Up, "")
	}
	if !h.Update(t0.Add(time.Minute), slices.Values(all)) || held(all) != 0 {
		t.Errorf("held %d after half came back, want none", held(all))
	}
}

// TestHoldTellsChanges: one more that is held is a change, as the state file has to
// know, and so is an end by which nobody is freed, since all are back.
func TestHoldTellsChanges(t *testing.T) {
	h := &Hold{Share: 0.5, Window: 15 * time.Second}
	all := []*Server{{}, {}, {}, {}}
	say := func(health Health, servers ...*Server) bool {
		for _, s := range servers {
			s.Observe(t0, health, "")
		}
		return h.Update(t0, slices.Values(all))
	}
	if say(Up, all...) {
		t.Error("a change, and nothing is held")
	}
	if !say(Down, all[:3]...) || !say(Down, all[3]) || held(all) != 4 {
		t.Errorf("held %d, want all, one more told", held(all))
	}
	if say(Down, all[3]) {
		t.Error("the same again, and it is a change")
	}
	if !say(Up, all...) {
		t.Error("the end is not told")
	}
}

// TestNeverInIsNeverHeld: a server that was dead before we came is no news.
func TestNeverInIsNeverHeld(t *testing.T) {
	h := &Hold{Share: 0.5, Window: 15 * time.Second}
	all := []*Server{{}, {}, {}, {}}
	for _, s := range all {
		s.Observe(t0, Down, "timeout")
	}
	if h.Update(t0, slices.Values(all)) || held(all) != 0 {
		t.Errorf("held %d", held(all))
	}
}

func held(all []*Server) (n int) {
	for _, s := range all {
		if s.Held {
			n++
		}
	}
	return n
}

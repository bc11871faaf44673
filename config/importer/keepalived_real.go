package importer

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goipvs/goipvs/config"
)

// kaDefaults are what a virtual_server hands down to its real servers, and they
// to their checks.
type kaDefaults struct {
	delay, connect, before time.Duration // delay_loop, connect_timeout, delay_before_retry
	retry                  int
	ownRetry, ownBefore    bool // given, not the default of the type
	alpha, inhibit         bool
	virtualhost            string
}

// timing takes a line that is about when checks are made; false if it is not.
func (k *keepalived) timing(d *kaDefaults, b *block) bool {
	switch b.name() {
	case "delay_loop":
		d.delay = k.seconds(b, d.delay)
	case "connect_timeout":
		d.connect = k.seconds(b, d.connect)
	case "delay_before_retry":
		d.before, d.ownBefore = k.seconds(b, d.before), true
	case "retry", "nb_get_retry":
		if n, ok := k.number(b, 0, 999); ok {
			d.retry, d.ownRetry = n, true
		}
	case "warmup", "log_all_failures": // first checks are spread anyway
	default:
		return false
	}
	return true
}

// seconds reads a time, which may have a fraction.
func (k *keepalived) seconds(b *block, def time.Duration) time.Duration {
	f, err := strconv.ParseFloat(b.arg(0), 64)
	if err != nil || !(f >= 0.01 && f <= 86400) {
		if f != 0 || err != nil {
			k.lost(b, "want seconds from 0.01 to 86400")
			return def
		}
		f = 0.01
	}
	return time.Duration(f * float64(time.Second)).Round(time.Millisecond)
}

// flagLine takes the lines that may be of a service and of a real server.
func (k *keepalived) flagLine(d *kaDefaults, b *block) {
	switch b.name() {
	case "alpha":
		d.alpha = k.truth(b)
	case "inhibit_on_failure":
		d.inhibit = k.truth(b)
	case "virtualhost":
		d.virtualhost = k.vhost(b, d.virtualhost)
	case "smtp_alert":
		k.smtpAlert(b)
	}
}

// vhost reads a host.
func (k *keepalived) vhost(b *block, def string) string {
	h := strings.Trim(b.arg(0), "[]")
	if h == "" || strings.ContainsAny(h, "/\\@") || !isASCII(h) {
		k.lost(b, "no host")
		return def
	}
	return h
}

// truth is true for a keyword alone.
func (k *keepalived) truth(b *block) bool {
	switch strings.ToLower(b.arg(0)) {
	case "", "on", "true", "yes":
		return true
	case "off", "false", "no":
		return false
	}
	k.lost(b, "want on or off")
	return true
}

func (k *keepalived) realServer(v *kaVirtual, b *block) {
	a, port, err := k.target(b.arg(0), b.arg(1), v.protocol)
	if err != nil {
		k.lost(b, err.Error()+": the real server is left out")
		return
	}
	s := config.Real{Addr: a, Port: port, Weight: v.weight, Method: v.method.method, Encap: v.method.encap, Pos: config.Position{File: b.file, Line: b.line}}
	d := v.defaults
	var checkers []*block
	k.each(b, func(l *block) {
		if isChecker(l) {
			checkers = append(checkers, l)
		} else {
			k.realLine(&s, &d, l)
		}
	})
	for _, c := range checkers {
		for _, made := range k.checker(v, &d, c) {
			if !slices.ContainsFunc(s.Checks, func(o config.Check) bool { return reflect.DeepEqual(o, made) }) {
				s.Checks = append(s.Checks, made)
			}
		}
	}
	if len(s.Checks) > 16 {
		k.lose(b.place, "%d checks are too many: the first 16 are left", len(s.Checks))
		s.Checks = s.Checks[:16]
	}
	n := 0
	for i := range s.Checks {
		if s.Checks[i].DynamicWeight {
			n++
		}
	}
	if n > 1 {
		k.lose(b.place, "%d checks with misc_dynamic: there what they add to the weight adds up, here the least weight counts", n)
	}
	if s.Lower > s.Upper {
		k.lose(b.place, "lthreshold %d is above uthreshold %d: left out", s.Lower, s.Upper)
		s.Lower = 0
	}
	if d.inhibit {
		v.inhibit++
	}
	if d.alpha {
		v.alpha++
	}
	v.Reals = append(v.Reals, s)
}

func (k *keepalived) realLine(s *config.Real, d *kaDefaults, b *block) {
	switch b.name() {
	case "weight":
		if n, ok := k.number(b, 0, 65535); ok {
			s.Weight = int32(n)
		}
	case "uthreshold":
		if n, ok := k.number(b, 0, 1<<31-1); ok {
			s.Upper = uint32(n)
		}
	case "lthreshold":
		if n, ok := k.number(b, 0, 1<<31-1); ok {
			s.Lower = uint32(n)
		}
	case "lb_kind", "lvs_method":
		if m, ok := k.methodOf(b); ok {
			s.Method, s.Encap = m.method, m.encap
		}
	case "notify_up":
		s.Notify.Up = k.script(b)
	case "notify_down":
		s.Notify.Down = k.script(b)
	case "alpha", "inhibit_on_failure", "virtualhost", "smtp_alert":
		k.flagLine(d, b)
	default:
		if !k.timing(d, b) {
			k.lost(b, noLike)
		}
	}
}

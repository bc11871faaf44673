package ipvsadm

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/ipvs"
)

func described() (all []*Option) {
	for _, g := range Manual() {
		for i := range g.Options {
			all = append(all, &g.Options[i])
		}
	}
	return all
}

// TestManualIsComplete: what can be typed is described, once.
func TestManualIsComplete(t *testing.T) {
	var want, got []string
	for i := range options {
		want = append(want, options[i].long)
	}
	for _, o := range described() {
		got = append(got, o.Long)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(slices.Compact(want), got); diff != "" {
		t.Errorf("options described (-grammar +manual):\n%s", diff)
	}
	for _, o := range described() {
		if takes, _ := o.Argument(); takes && o.Value == "" || !takes && !o.Command() && o.Value != "" {
			t.Errorf("--%s: value %q, but takes one: %v", o.Long, o.Value, takes)
		}
		if o.Brief == "" || strings.HasSuffix(o.Brief, ".") || o.More != "" && !strings.HasSuffix(o.More, ".") {
			t.Errorf("--%s: words that are no sentence in Brief, sentences in More: %q %q", o.Long, o.Brief, o.More)
		}
	}
}

// TestManualSaysDefaults holds the numbers in the texts against those in the
// code.
func TestManualSaysDefaults(t *testing.T) {
	brief, more := make(map[string]string), make(map[string]string)
	for _, o := range described() {
		brief[o.Long], more[o.Long] = o.Brief, o.More
	}
	for _, c := range []struct{ text, want string }{
		{brief["scheduler"], "(" + defaultScheduler + ")"},
		{brief["persistent"], "(" + strconv.Itoa(int(defaultPersistence.Seconds())) + ")"},
		{brief["weight"], "(" + strconv.Itoa(defaultWeight) + ")"},
		{brief["mcast-interface"], "(" + defaultInterface + ")"},
		{brief[map[ipvs.Method]string{ipvs.DirectRoute: "gatewaying", ipvs.NAT: "masquerading", ipvs.Tunnel: "ipip"}[defaultMethod]], "(this if none is given)"},
		{more["persistent"], "1 to " + strconv.Itoa(maxTimeout) + " seconds"},
		{more["set"], "0 to " + strconv.Itoa(maxTimeout) + " seconds"},
		{more["weight"], "Up to " + strconv.Itoa(math.MaxInt32)},
		{more["fwmark-service"], "1 to " + strconv.Itoa(math.MaxUint32)},
		{more["sync-maxlen"], "1 to " + strconv.Itoa(math.MaxUint16-28)},
	} {
		if !strings.Contains(c.text, c.want) {
			t.Errorf("%q does not say %q", c.text, c.want)
		}
	}
}

// TestManualWords: each value that is offered is accepted, and all that the
// grammar has are offered.
func TestManualWords(t *testing.T) {
	base := map[string]string{
		"scheduler": "-A -t 10.0.0.1:80", "sched-flags": "-A -t 10.0.0.1:80", "pe": "-A -t 10.0.0.1:80",
		"tun-type": "-a -t 10.0.0.1:80 -r 10.0.0.2 -i", "start-daemon": "", "stop-daemon": "",
		"proxy-protocol": "-A -t 10.0.0.1:80", "plane": "-A -t 10.0.0.1:80", "synproxy": "-A -t 10.0.0.1:80",
	}
	for _, o := range described() {
		for w := range strings.FieldsSeq(o.Words) {
			line := base[o.Long] + " --" + o.Long + " " + w
			switch {
			case strings.HasPrefix(w, "sh-"), strings.HasPrefix(w, "mh-"):
				line += " -s " + w[:2]
			case w == "gue":
				line += " --tun-port 6080"
			}
			if _, err := Parse(words(line), nil); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		var all []string
		switch o.Long {
		case "sched-flags":
			for _, f := range schedulerFlags {
				all = append(all, f.word)
			}
		case "tun-type":
			for _, r := range tunnelRows {
				all = append(all, r.name)
			}
		}
		for _, w := range all {
			if !slices.Contains(strings.Fields(o.Words), w) {
				t.Errorf("--%s: %s is not among its words", o.Long, w)
			}
		}
	}
}

// TestManualWith: an option goes with a command when the grammar does not call
// it illegal there.
func TestManualWith(t *testing.T) {
	for _, command := range described() {
		if !command.Command() || command.Long == "help" || command.Long == "version" {
			continue
		}
		for _, o := range described() {
			if o.Command() || o.Long == "sort" { // -L --sort is ipvsadm's, too
				continue
			}
			line := commandLine(command, o)
			_, err := Parse(line, nil)
			var u *UsageError
			illegal := errors.As(err, &u) && (strings.HasPrefix(u.Reason, "illegal '") || u.Reason == "unknown option")
			if o.With(command) == illegal {
				t.Errorf("%q: %v, but the grammar says: %v", line, o.With(command), err)
			}
			// What else can be wrong is judged after the matrix.
			if err != nil && !illegal && !slices.ContainsFunc([]string{"tunnel options", "one-packet", "different address family", "full NAT knows no"},
				func(s string) bool { return strings.HasPrefix(u.Reason, s) }) {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
}

// commandLine is a command with what it must have, and an option.
func commandLine(command, o *Option) []string {
	line := "--" + command.Long
	switch {
	case command.Words != "":
		line += " " + strings.Fields(command.Words)[0]
	case command.Long == "set":
		line += " 1 2 3"
	}
	service := strings.HasSuffix(o.Long, "-service") || o.Long == "ipv6"
	if strings.HasPrefix(command.Value, "SERVICE") && !service {
		line += " -t 10.0.0.1:80"
	}
	if strings.HasSuffix(command.Value, "SERVER") && o.Long != "real-server" {
		line += " -r 10.0.0.2"
	}
	if strings.HasSuffix(command.Value, "LIP") && o.Long != "laddr" {
		line += " -z 10.0.0.3"
	}
	if o.Long == "ipv6" {
		line += " -f 1"
	}
	values := map[string]string{"tun-type": "ipip", "sched-flags": "flag-1", "mcast-group": "224.0.0.9",
		"proxy-protocol": "v1", "plane": "auto", "synproxy": "enable", "laddr": "10.0.0.3"}
	switch takes, _ := o.Argument(); {
	case !takes:
		return words(line + " --" + o.Long)
	case values[o.Long] != "":
		return words(line + " --" + o.Long + " " + values[o.Long])
	case strings.HasPrefix(o.Value, "HOST"):
		return words(line + " --" + o.Long + " 10.0.0.9:80")
	}
	return words(line + " --" + o.Long + " 7")
}

// TestHelpNamesEverything: every option is in the help, spelled in full, and
// lines fit a terminal.
func TestHelpNamesEverything(t *testing.T) {
	text := help("goipvs")
	for _, o := range described() {
		if n := strings.Count(text, "--"+o.Long+" ") + strings.Count(text, "--"+o.Long+",") + strings.Count(text, "--"+o.Long+"\n"); n != 1 {
			t.Errorf("--%s is %d times in the help", o.Long, n)
		}
		if c := o.Short(); c != 0 && !strings.Contains(text, " -"+string(c)+", --"+o.Long) && !strings.Contains(text, " -"+string(c)+"|--"+o.Long) {
			t.Errorf("-%c is not in the help", c)
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > helpWidth+1 || strings.HasSuffix(line, " \n") {
			t.Errorf("too long, or a blank at the end: %q", line)
		}
	}
}

package oracle

import (
	"flag"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lines is how many command lines TestKernelLines tries; each costs a process.
var lines = flag.Int("lines", 100, "random command lines to try")

// base is the table that every random command line finds.
const base = `-C
--set 900 120 300
-A -t 10.0.0.1:80 -s rr
-a -t 10.0.0.1:80 -r 192.168.1.11:80 -m -x 100 -y 50
-a -t 10.0.0.1:80 -r 192.168.1.12:80 -g -w 2
-A -u 10.0.0.1:53 -s wlc -o
-a -u 10.0.0.1:53 -r 192.168.1.11:53 -i --tun-type gue --tun-port 6080
-A -t [2001:db8::80]:80 -s sh -b sh-port -p 60 -M 64
-a -t [2001:db8::80]:80 -r [2001:db8::a1]:80 -m
-A -f 5 -s wrr -p 90 -M 255.255.255.0
-a -f 5 -r 192.168.1.11 -g
-A -f 5 -6 -s mh
-a -f 5 -6 -r [2001:db8::a1]:80 -i
`

// outcome is what a command line came to.
type outcome struct {
	Line  answer // with or without a message
	After string // as the real ipvsadm sees it
}

// TestKernelLines gives both programs the same random command lines.
func TestKernelLines(t *testing.T) {
	k, theirs := dial(t), newStage(t).real(t)
	reader := theirs.reader(t)
	dummy(t, "eth0")
	dummy(t, "dum0")
	var untouched, now string
	try := func(run func() answer) (o outcome) {
		if now == "" || now != untouched {
			stopDaemons(t, k)
			k.restore(t, base)
		}
		o.Line = run()
		o.Line.Stdout = thresholds.ReplaceAllString(o.Line.Stdout, "$1")
		if o.Line.Stderr != "" {
			o.Line.Stderr = "a message"
		}
		o.After = reader.ask(t, "-S -n\n-L -n --thresholds\n-L --daemon\n") + reader.end
		now = o.After
		return o
	}
	untouched = try(func() answer { return answer{} }).After
	l := &liner{rand.New(rand.NewPCG(*seed, 0))}
	for range *lines {
		argv, inOrder := l.line()
		for i := range inOrder { // brackets make it lose the port
			inOrder[i] = strings.ReplaceAll(inOrder[i], "[10.0.0.1]", "10.0.0.1")
		}
		want := try(func() answer { return theirs.run(t, "", inOrder...) })
		got := try(func() answer { return k.run("/sbin/ipvsadm", "", argv...) })
		if diff := cmp.Diff(want, got); diff != "" && !better(argv, want, got, untouched) {
			t.Errorf("%q: -ipvsadm +goipvs:\n%s", argv, diff)
		}
	}
	stopDaemons(t, k)
}

// deliberate are the differences that are meant, by what in a command line brings
// them about: it is given with a NUL before each word.
var deliberate = []struct {
	topic string
	given *regexp.Regexp
	holds func(want, got outcome, untouched string) bool
}{
	{"spellings of numbers that are ambiguous", regexp.MustCompile(`[\x00=:a-zA-Z][ \t+]\d`), refused},
	{"spellings of addresses that are ambiguous", regexp.MustCompile(`(^|[^\d.])\d+(\.\d+){1,2}([: \x00]|$)|(^|\D)0\d+\.\d|0x0a000001|\d [^\x00]*\x00`), refused},
	{"a mask of the other family, or too long for a prefix", regexp.MustCompile(`\x00(-M|--netmask)`), refused},
	{"a mask that is a prefix length", regexp.MustCompile(`\x00(-M|--netmask)[=\x00]?\d+(\x00|$)`), sameButMask},
	{"a port's name before the service that has the protocol",
		regexp.MustCompile(`\x00(-r|--real-server)[=\x00]?rs1:http.*\x00(-[tuf]|--\w+-service)`), refused},
	{"full NAT", regexp.MustCompile(`^\x00(-a|-e|--add-server|--edit-server).*\x00(-\w*b|--sched-flags|--fullnat)`), nothing},
	{"full NAT's commands", regexp.MustCompile(`^\x00-[PQG]`), nothing},
	{"help and version", regexp.MustCompile(`^\x00-(h|v|-help|-version)`), sameStatus},
}

// better reports whether a difference is one that is meant.
func better(argv []string, want, got outcome, untouched string) bool {
	text := "\x00" + strings.Join(argv, "\x00")
	for _, d := range deliberate {
		if d.given.MatchString(text) && d.holds(want, got, untouched) {
			return true
		}
	}
	return false
}

// refused: a usage error, and nothing happened.
func refused(_, got outcome, untouched string) bool {
	return got == outcome{answer{Exit: 2, Stderr: "a message"}, untouched}
}

// nothing happened, but for a message.
func nothing(_, got outcome, untouched string) bool {
	return got.Line.Exit != 0 && got.Line.Stderr != "" && got.After == untouched
}

func sameStatus(want, got outcome, _ string) bool {
	return want.Line.Exit == got.Line.Exit && want.After == got.After
}

func sameButMask(want, got outcome, _ string) bool {
	mask := regexp.MustCompile(` (-M|mask) \S+`)
	return want.Line == got.Line && mask.ReplaceAllString(want.After, "") == mask.ReplaceAllString(got.After, "")
}

package oracle

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sent is what was sent before a recorded command.
type sent struct {
	record string
	send   func(*network)
	then   string   // rules after that, where the record has them in words
	rows   []string // its own connections, by client and perhaps service: recorded listings show those of earlier records too
}

func threeHeld(n *network) {
	n.connect("10.0.0.1:80", "10.1.0.2:40001", "10.1.0.2:40002", "10.1.0.2:40003")
}

func threeClosed(n *network) { threeHeld(n); n.close() }

func marked(n *network) {
	n.mark("10.0.0.1:8080", 10)
	n.connect("10.0.0.1:8080", "10.1.0.2:46001")
}

func unanswered(n *network) { n.call("10.0.0.1:80", "10.1.0.2:44001") }

var three = []string{"10.1.0.2:40001", "10.1.0.2:40002", "10.1.0.2:40003"}

const invite = "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.2:45001\r\nFrom: <sip:alice@example.com>\r\n" +
	"To: <sip:bob@example.com>\r\nCall-ID: call-123@example.com\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r"

var traffic = []sent{
	{record: "conn-names", send: threeHeld, rows: three},
	{record: "conn-pconn-format", send: threeHeld, rows: three},
	{record: "traffic-thresholds", send: threeHeld},
	{record: "traffic-pconn", send: threeHeld},
	{record: "conn-closed", send: threeClosed, rows: three},
	{record: "traffic-list-inact", send: threeClosed},
	{record: "traffic-stats-after-zero", send: threeClosed, then: "-Z\n"},
	{record: "conn-after-dest-deleted", send: threeClosed, rows: three,
		then: "-d -t 10.0.0.1:80 -r 10.2.0.11:8080\n"},
	{record: "dest-readded-from-trash", send: threeClosed,
		then: "-d -t 10.0.0.1:80 -r 10.2.0.11:8080\n-a -t 10.0.0.1:80 -r 10.2.0.11:8080 -m\n"},
	{record: "conn-persistent-template", rows: []string{"10.1.0.2:41001", "10.1.0.2:41002", "10.1.0.0:0"},
		send: func(n *network) { n.connect("10.0.0.2:80", "10.1.0.2:41001", "10.1.0.2:41002") }},
	{record: "traffic-v6-stats",
		send: func(n *network) { n.connect("[2001:db8::80]:80", "[2001:db8:1::2]:42001") }},
	{record: "conn-udp", rows: []string{"10.1.0.2:43001"},
		send: func(n *network) { n.exchange("udp", "10.1.0.2:43001", "10.0.0.1:53", "name") }},
	{record: "conn-udp-ops",
		send: func(n *network) { n.shoot("10.0.0.1:53", "10.1.0.2:43002") }},
	{record: "conn-synrecv", send: unanswered, rows: []string{"10.1.0.2:44001"}},
	{record: "traffic-synrecv-list", send: unanswered},
	{record: "conn-pe-sip", rows: []string{"10.1.0.2:45001", "10.1.0.2:0"},
		send: func(n *network) { n.exchange("udp", "10.1.0.2:45001", "10.0.0.1:5060", invite) }},
	{record: "traffic-fwmark-list", send: marked},
	{record: "traffic-bulk-stats", send: func(n *network) { n.upload("10.0.0.1:80", 130) }},
	{record: "conn-fwmark-persistent-names", send: marked, rows: []string{"10.1.0.2:46001", "10.1.0.2:0"}},
	{record: "conn-after-clear", send: marked, then: "-C\n", rows: []string{"10.1.0.2:46001", "10.1.0.2:0"}},
	{record: "conn-port0-template", rows: []string{"10.1.0.2:46002", "10.1.0.2:0 10.0.0.2:0"},
		send: func(n *network) { n.connect("10.0.0.2:8080", "10.1.0.2:46002") }},
}

// TestKernelTraffic sends what was sent when the cases were recorded. Each
// listing of ours is held against the recorded one, but for what differs from
// run to run, and against the real ipvsadm's of the same moment in every byte.
func TestKernelTraffic(t *testing.T) {
	theirs := newStage(t).real(t)
	recorded := map[string]*record{}
	for _, r := range records(t, func(r *record) bool { return r.tagged("traffic") }) {
		recorded[r.Name] = r
	}
	for _, c := range traffic {
		r := recorded[c.record]
		if r == nil {
			t.Fatalf("no record %s", c.record)
		}
		delete(recorded, c.record)
		t.Run(c.record, func(t *testing.T) { c.play(t, r, theirs) })
	}
	for name := range recorded {
		t.Errorf("nobody knows what was sent for %s", name)
	}
}

func (c *sent) play(t *testing.T, r *record, theirs *program) {
	n := newNetwork(t)
	real := func(argv ...string) answer { return theirs.in(t, n.Director.Do, "", argv...) }
	n.rules(rulesOf(r.Setup))
	c.send(n)
	n.rules(c.then)
	want := c.lasting(r, r.Stdout)
	soon(t, "-want +got", func() string {
		got := n.run("", r.Argv...)
		return cmp.Diff(answer{Exit: status(r.Exit), Stdout: want}, answer{got.Exit, c.lasting(r, got.Stdout), got.Stderr})
	})
	soon(t, "-ipvsadm +goipvs", func() string {
		want, got := real(r.Argv...), n.run("", r.Argv...)
		want.Stdout, got.Stdout = withoutExpiry(want.Stdout), withoutExpiry(got.Stdout)
		return cmp.Diff(want, got)
	})
	if diff := cmp.Diff(answer{Stdout: r.State}, real("-S", "-n")); diff != "" {
		t.Errorf("the table, read by the real ipvsadm (-want +got):\n%s", diff)
	}
}

// rulesOf are the rules of a setup that were there before the traffic.
func rulesOf(setup [][]string) string {
	var rules strings.Builder
	for _, words := range setup {
		if words[0] == "-A" || words[0] == "-a" {
			rules.WriteString(strings.Join(words, " ") + "\n")
		}
	}
	return rules.String()
}

// What differs from run to run.
var (
	expiry  = regexp.MustCompile(`(?m)^(\S+ +)\d+:\d\d `)
	counter = regexp.MustCompile(` +\d+([KMGT]?)\b`)
)

func withoutExpiry(listing string) string { return expiry.ReplaceAllString(listing, "${1}mm:ss ") }

// lasting is what of a listing is the same in every run: the order of
// connections is not, as the kernel hashes with a secret.
func (c *sent) lasting(r *record, listing string) string {
	if slices.Contains(r.Volatile, "all counters and rates") {
		return counter.ReplaceAllString(listing, " N$1")
	}
	if !strings.HasPrefix(listing, "IPVS connection entries\n") {
		return listing
	}
	var rows []string
	lines := strings.SplitAfter(withoutExpiry(listing), "\n")
	for _, row := range lines[2:] {
		if f := strings.Fields(row); len(f) > 4 && (slices.Contains(c.rows, f[3]) || slices.Contains(c.rows, f[3]+" "+f[4])) {
			rows = append(rows, row)
		}
	}
	return lines[0] + lines[1] + sorted(strings.Join(rows, ""))
}

// soon waits until there is no difference: what the kernel counts and forgets by
// its own clock it tells nobody.
func soon(t *testing.T, what string, diff func() string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		d := diff()
		if d == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s:\n%s", what, d)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

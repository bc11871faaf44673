package ipvsadm

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/goipvs/goipvs/ipvs"
)

// FuzzParse: no line makes the grammar panic, and a rule that parses, printed
// and parsed again, means the same.
func FuzzParse(f *testing.F) {
	for _, line := range []string{
		"-A -t 10.0.0.1:80 -s sh -b sh-port,flag-3 -p 60 -M 255.0.255.0 --pe sip",
		"-At=[2001:db8::1]:80 -p -M 64", "-E -f 4294967295 -6 -o", "-D --sctp-service vip:http",
		"-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -mw5 -x 7 -y 3", "-d -u 10.0.0.1:1 -r vip",
		"-a -f 1 -r ::1 -i --tun-type gue --tun-port 6080 --tun-remcsum", "-e -t [::ffff:1.2.3.4]:5 -r [both]:http -g",
		"-Lnc --persistent-conn --json", "--set 1 2 3", "--start-daemon master --mcast-group ff05::81", "-b , -- - '' --=",
		"ipvsadm -R", "-P -t 10.0.0.1:80 -z ::1", "-A -t 10.0.0.1:80 --fullnat --proxy-protocol v2 -j enable", "-d -t 10.0.0.1:80 -r ::1 --fullnat", "-A -t 10.0.0.1: -p= --netmask=",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		var in text
		if in.read(strings.NewReader(line)) != nil {
			return
		}
		r := rules{parser: parser{names: fewNames{}}, text: &in}
		for {
			ok, err := r.advance()
			if !ok {
				return
			}
			if err == nil && r.cmd.Change.Op != 0 {
				roundTrip(t, r.cmd.Change)
			}
		}
	})
}

func roundTrip(t *testing.T, want ipvs.Change) {
	t.Helper()
	if s := &want.Service; s.Flags&ipvs.Persistent == 0 {
		s.Netmask = ipvs.Netmask{} // a rule has it only together with -p
	}
	if d := &want.Destination; d.Method != ipvs.Tunnel {
		d.Encap = ipvs.Encap{}
	}
	line := string(AppendChange(nil, want))
	got, err := Parse(strings.Fields(line), nil)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if diff := cmp.Diff(want, got.Change, cmpopts.EquateComparable(ipvs.Change{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", line, diff)
	}
}

// FuzzText: a text has the same words however it is cut into chunks, as many
// lines as newlines, and no word with a blank in it.
func FuzzText(f *testing.F) {
	f.Add([]byte("-A -t 10.0.0.1:80\r\n# x\n\n ipvsadm -C"), false)
	f.Add([]byte("/sbin/ipvsadm # y\n"), true)
	f.Fuzz(func(t *testing.T, input []byte, strict bool) {
		whole, cut := text{strict: strict}, text{strict: strict}
		if err := whole.read(bytes.NewReader(input)); err != nil {
			return
		}
		cut.chunks = bytes.SplitAfter(input, []byte("\n"))
		var a, b place
		for {
			one, ok := whole.next(&a)
			two, ok2 := cut.next(&b)
			if ok != ok2 || one != two || a.line != b.line {
				t.Fatalf("line %d: %q %v, line %d: %q %v", a.line, one, ok, b.line, two, ok2)
			}
			if !ok {
				break
			}
			for _, w := range whole.split(nil, one) {
				if w == "" || strings.ContainsAny(w, " \t\r\n") {
					t.Errorf("word %q of %q", w, one)
				}
			}
		}
	})
}

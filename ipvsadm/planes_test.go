package ipvsadm_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/ipvsadm"
)

// ill is a goipvsd that does nothing but fail.
type ill struct{ err error }

func (i ill) Ask(string, []byte) ([]byte, error) { return nil, i.err }
func (ill) Close() error                         { return nil }

// TestIllDaemon: a goipvsd that fails keeps nobody from the kernel, and what
// concerns it is told.
func TestIllDaemon(t *testing.T) {
	silent := errors.New("answer of goipvsd at sock: goipvsd does not answer")
	denied := &ipvsadm.DaemonError{Code: "denied", Message: "fullnat: permission denied", Hint: "only root"}
	const list = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n" +
		"TCP  192.0.2.1:80 rr\n  -> 10.0.0.1:8080                Masq    5      0          0         \n"
	for _, tt := range []struct {
		name, argv string
		daemon     ipvsadm.Daemon
		dial       error
		want       answer
	}{
		{"list", "-Ln", ill{silent}, nil, answer{1, list, "goipvs: answer of goipvsd at sock: goipvsd does not answer\n"}},
		{"list, denied", "-Ln", ill{denied}, nil, answer{0, list, "goipvs: notice: full NAT is not listed: fullnat: permission denied\n"}},
		{"list, not let in", "-Ln", nil, denied, answer{0, list, "goipvs: notice: full NAT is not listed: fullnat: permission denied\n"}},
		{"list, not running", "-Ln", nil, ipvsadm.ErrNotRunning, answer{0, list, ""}},
		{"one service", "-Ln -t 192.0.2.1:80", ill{silent}, nil, answer{0, strings.SplitN(list, "\n", 2)[1], ""}},
		{"save", "-Sn", ill{silent}, nil, answer{1, oneServer, "goipvs: answer of goipvsd at sock: goipvsd does not answer\n"}},
		{"add to the kernel", "-A -t 192.0.2.2:80 -s rr", ill{silent}, nil, answer{}},
		{"edit", "-E -t 192.0.2.1:80 -s rr", ill{silent}, nil, answer{}},
		{"delete", "-D -t 192.0.2.1:80", nil, errors.New("no connection"), answer{}},
		{"add a server", "-a -t 192.0.2.1:80 -r 10.0.0.2 -m", ill{silent}, nil, answer{}},
		{"a mark", "-E -f 7 -s rr", nil, errors.New("no connection"), answer{255, "", "goipvs: update service fwmark 7 rr: no such service\ngoipvs: hint: -A adds a service; --ensure makes it so either way\n"}},
		{"timeouts", "-L --timeout", nil, errors.New("must not be asked"), answer{0, "Timeout (tcp tcpfin udp): 900 120 300\n", ""}},
		{"full NAT, denied", "-a -t 192.0.2.2:80 -r 10.0.0.2 -b", ill{denied}, nil, answer{2, "", "goipvs: fullnat: permission denied\ngoipvs: hint: only root\n"}},
		{"full NAT, silent", "-A -t 192.0.2.2:80 --fullnat", ill{silent}, nil, answer{255, "", "goipvs: answer of goipvsd at sock: goipvsd does not answer\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := table(t, oneServer)
			var out, errw bytes.Buffer
			r := ipvsadm.Runner{Prog: "goipvs", Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errw,
				Dial:   func() (ipvsadm.Kernel, error) { return k, nil },
				Daemon: func() (ipvsadm.Daemon, error) { return tt.daemon, tt.dial }}
			if got := (answer{r.Run(strings.Fields(tt.argv)), out.String(), errw.String()}); got != tt.want {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// falls is a goipvsd that carries out so many requests, and ends.
type falls struct{ left int }

func (f *falls) Ask(verb string, _ []byte) ([]byte, error) {
	if verb != ipvsadm.VerbRules {
		return []byte("{}"), nil
	}
	if f.left--; f.left < 0 {
		return nil, errors.New("goipvsd is gone")
	}
	return []byte("{}"), nil
}
func (*falls) Close() error { return nil }

// TestRestoreCutOff: a goipvsd that is lost between the requests of a long rules
// file leaves what it has done; the line is told from which on nothing is known,
// and what the kernel refused.
func TestRestoreCutOff(t *testing.T) {
	var rules strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&rules, "-A -t 10.9.%d.%d:80 -s rr --fullnat\n", i>>8, i&255)
	}
	const gone = ": goipvsd is gone; what is before it for full NAT is done, this and what comes after it perhaps not\n"
	for _, tt := range []struct {
		name, before string
		left         int
		want         string
	}{
		{"at once", "", 0, "goipvs: goipvsd is gone\n"},
		{"at once, and the kernel refuses a line", "-D -t 192.0.2.9:80\n", 0,
			"goipvs: stdin:1: delete service tcp 192.0.2.9:80: no such service\ngoipvs: stdin:2: add service tcp 10.9.0.0:80 rr" + gone},
		{"after the first request", "", 1, "goipvs: stdin:1638: add service tcp 10.9.6.101:80 rr" + gone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := table(t, oneServer)
			var out, errw bytes.Buffer
			r := ipvsadm.Runner{Prog: "goipvs", Stdin: strings.NewReader(tt.before + rules.String()), Stdout: &out, Stderr: &errw,
				Dial:   func() (ipvsadm.Kernel, error) { return k, nil },
				Daemon: func() (ipvsadm.Daemon, error) { return &falls{tt.left}, nil }}
			if status := r.Run([]string{"-R"}); status == 0 || errw.String() != tt.want {
				t.Errorf("status %d\n got %s\nwant %s", status, &errw, tt.want)
			}
		})
	}
}

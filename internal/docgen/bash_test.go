package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// complete asks bash, by calling the function that the script registers as bash
// would. The words are as bash splits a line: at "=" and ":", too.
const complete = `
source ../../contrib/completions/goipvs.bash
compopt() { echo "compopt $*"; }
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
[[ $(complete -p "$1") == "complete -F _goipvs $1" ]] || exit 1
_goipvs "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}"
`

func TestBash(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"goipvs ap", "apply"},
		{"goipvs dif", "diff"},
		{"goipvs --st", "--start-daemon --stop-daemon"},
		{"goipvs -A -s w", "wrr wlc"},
		{"goipvs -A --scheduler = l", "lc lblc lblcr"},
		{"goipvs -A --pe =", "sip"},
		{"goipvs -A -b sh-", "sh-fallback sh-port"},
		{"goipvs -A -b sh-port,flag-1,sh", "sh-port,flag-1,sh-fallback sh-port,flag-1,sh-port"},
		{"goipvs -A -t 192.0.2.1 : 80 --pe", "--persistent --pe"},
		{"goipvs -A -t 192.0.2.1 : 80 -p --we", ""},
		{"goipvs -a -t 192.0.2.1 : 80 -r 10.0.0.1 --tun-t", "--tun-type"},
		{"goipvs -a -t 192.0.2.1 : 80 -r 10.0.0.1 -i --tun-type g", "gue gre"},
		{"goipvs -a -t 192.0.2.1 : 80 -w _", ""},
		{"goipvs -Ln --t", "--tcp-service --thresholds --tun-info --timeout"},
		{"goipvs --start-daemon _", "master backup"},
		{"goipvs --start-daemon master --mcast-interface l", "lo"},
		{"goipvs -C _", ""},
		{"goipvs apply w", "compopt -o default"},
		{"goipvs apply -", "compopt -o default"},
		{"goipvs apply --p", "--prune"},
		{"goipvs diff --prune --d", "--detailed-exitcode"},
		{"goipvs help sch", "schedulers"},
		{"goipvs help _", strings.Join(helpWords(), " ")},
		{"goipvs drain --ti", "--timeout"},
		{"goipvs realserver _", "add del show check"},
		{"goipvs realserver add --m", "--mode"},
		{"goipvs realserver add 192.0.2.1 --mode _", "dr tun"},
		{"goipvs realserver add --mode = t", "tun"},
		{"goipvs realserver add --dev l", "lo"},
		{"goipvs realserver add --tunnel g", "gre gue:"},
		{"goipvs import _", "ldirectord keepalived"},
		{"goipvs import --json k", "keepalived"},
		{"goipvs import keepalived _", "compopt -o default"},
		{"goipvs import keepalived --con", "--config-id"},
		{"goipvs import --config-id _", ""},
		{"goipvs tune _", "show set undo"},
		{"goipvs tune set pm", "pmtu_disc"},
		{"goipvs explain _", "--service --json --socket --help"},
		{"goipvs drain --socket _", "compopt -o default"},
		{"goipvs drain --reason _", ""},
		{"goipvs top --sort _", "connections active bytes weight"},
		{"goipvs doctor --method d", "dr"},
		{"goipvs doctor --serv", "--service"},
		{"ipvsadm a", ""},
		{"ipvsadm help _", "-A --add-service -E --edit-service -D --delete-service -a --add-server -e --edit-server -d --delete-server -P --add-laddr -Q --del-laddr -G --get-laddr " +
			"-L --list -S --save -R --restore -C --clear -Z --zero --set --start-daemon --stop-daemon -h --help -v --version"},
		{"ipvsadm -S _", "-n --numeric"},
	} {
		args := append([]string{"--norc", "--noprofile", "-c", complete, "bash"}, strings.Fields(strings.ReplaceAll(c.line, "_", " "))...)
		if strings.HasSuffix(c.line, "_") {
			args = append(args, "")
		}
		var errs bytes.Buffer
		cmd := exec.Command("bash", args...)
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil || errs.Len() > 0 {
			t.Errorf("%s: %v %s", c.line, err, errs.String())
		}
		if diff := cmp.Diff(c.want, strings.Join(strings.Fields(string(out)), " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.line, diff)
		}
	}
}

// TestBashOnTerminal types into a bash on a terminal, with the tabulator key.
func TestBashOnTerminal(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "my web.rules"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("../../contrib/completions/goipvs.bash")
	if err != nil {
		t.Fatal(err)
	}
	terminal := startBash(t, dir)
	terminal.typeAndAwait("source "+quote(script)+"; echo rea''dy\n", "ready")
	terminal.typeAndAwait("goipvs app\t", "goipvs apply ")
	terminal.typeAndAwait("my\t", `my\ web.rules`)
	terminal.typeAndAwait("\x15goipvs -A -t 192.0.2.1:80 --sched\t\t", "--scheduler")
	terminal.typeAndAwait("\x15goipvs -A -t 192.0.2.1:80 --scheduler=wr\t", "--scheduler=wrr ")
}

type terminal struct {
	t    *testing.T
	file *os.File
}

// startBash starts an interactive bash on a terminal of its own.
func startBash(t *testing.T, dir string) *terminal {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	far := openFar(t, near)
	defer far.Close()
	cmd := exec.Command("bash", "--norc", "--noprofile", "-i")
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, far, far, far
	cmd.Env = append(os.Environ(), "TERM=dumb", "PS1=$ ", "HISTFILE=", "INPUTRC=/dev/null", "LC_ALL=C", "COLUMNS=200")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, as it should be
	})
	return &terminal{t, near}
}

// openFar opens the end of a pseudo-terminal that programs have, see pty(7).
func openFar(t *testing.T, near *os.File) *os.File {
	t.Helper()
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	var ioctl error
	err = raw.Control(func(fd uintptr) {
		if ioctl = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); ioctl == nil {
			ioctl = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 200})
		}
		if ioctl == nil {
			number, ioctl = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil || ioctl != nil {
		t.Fatal(err, ioctl)
	}
	far, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return far
}

// typeAndAwait types keys and reads until the terminal shows a text.
func (x *terminal) typeAndAwait(keys, text string) {
	x.t.Helper()
	if _, err := x.file.WriteString(keys); err != nil {
		x.t.Fatal(err)
	}
	if err := x.file.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		x.t.Fatal(err)
	}
	var seen []byte
	for buf := make([]byte, 4096); !strings.Contains(string(seen), text); {
		n, err := x.file.Read(buf)
		seen = append(seen, buf[:n]...)
		if err != nil {
			x.t.Fatalf("typed %q, not %q but %q: %v", keys, text, seen, err)
		}
	}
}

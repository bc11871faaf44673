package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
)

// asCripple is what is taken from the program before it starts.
const asCripple = "GOIPVS_TEST_CRIPPLE"

// cripple takes something away that programs rely on.
func cripple(what string) error {
	switch what {
	case "descriptors":
		return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 3})
	case "proc": // the test has put us into a mount namespace of our own
		return unix.Unmount("/proc", unix.MNT_DETACH)
	}
	return nil
}

type badInput struct {
	name    string
	args    []string // the first is the name of the program
	in      io.Reader
	out     string // a file for the output
	without string // see cripple
	exit    int
	stderr  string // a regular expression for all of it
}

const twoLines = "-A -t 192.0.2.2:80\n"

var badInputs = []badInput{
	{name: "no value", args: words("goipvs -A -t"), exit: 255, stderr: `-t: missing argument\n.*hint: .*`},
	{name: "no address", args: words("goipvs -A -t nonsense:x:y"), exit: 2, stderr: `nonsense:x:y: illegal virtual server address.*`},
	{name: "port too large", args: words("goipvs -A -t 192.0.2.2:65536"), exit: 2, stderr: `192.0.2.2:65536: illegal virtual server address.*`},
	{name: "mark too large", args: words("goipvs -A -f 4294967296"), exit: 2, stderr: `4294967296: illegal fwmark.*`},
	{name: "weight too large", args: words("goipvs -e -t 192.0.2.1:80 -r 10.0.0.1 -m -w 2147483648"), exit: 2, stderr: `2147483648: illegal weight.*`},
	{name: "threshold too large", args: words("goipvs -e -t 192.0.2.1:80 -r 10.0.0.1 -m -x 4294967295"), exit: 2, stderr: `4294967295: illegal u_threshold.*`},
	{name: "thresholds crossed", args: words("goipvs -e -t 192.0.2.1:80 -r 10.0.0.1 -m -y 5"), exit: 255, stderr: `update destination 10.0.0.1:80 of .*: out of range\n.*hint: .*`},
	{name: "timeouts missing", args: words("goipvs --set 1 2"), exit: 2, stderr: `--set: option requires 3 timeout values`},
	{name: "daemon without device", args: words("goipvs --start-daemon master --mcast-interface nosuch0"), exit: 255, stderr: `start sync daemon master nosuch0: no such network interface\n.*hint: .*`},
	{name: "unknown scheduler", args: words("goipvs -A -t 192.0.2.2:80 -s wrrr"), exit: 255, stderr: `.*scheduler not available \(ip_vs_wrrr\)\n.*hint: .*`},
	{name: "unknown engine", args: words("goipvs -A -t 192.0.2.2:80 --pe sap"), exit: 255, stderr: `.*engine not available .*\n.*hint: .*ip_vs_pe_sap"`},
	{name: "scheduler name too long", args: words("goipvs -A -t 192.0.2.2:80 -s " + strings.Repeat("r", 16)), exit: 255, stderr: `.*longer than 15 bytes`},
	{name: "service twice", args: words("goipvs -A -t 192.0.2.1:80"), exit: 255, stderr: `add service .*: already exists\n.*hint: .*`},
	{name: "no such service", args: words("goipvs -D -t 192.0.2.2:80"), exit: 255, stderr: `delete service tcp 192.0.2.2:80: no such service`},
	{name: "no such service to list", args: words("goipvs -Ln -t 192.0.2.2:80"), exit: 1, stderr: `read service tcp 192.0.2.2:80: no such service`},
	{name: "no such server", args: words("goipvs -d -t 192.0.2.1:80 -r 10.0.0.2"), exit: 255, stderr: `.*no such destination`},
	{name: "multicast server", args: words("goipvs -a -t 192.0.2.1:80 -r 224.0.0.1"), exit: 255, stderr: `.*invalid argument\n.*hint: .*unicast.*`},
	{name: "empty word", args: []string{"goipvs", ""}, exit: 255, stderr: `"": a command must come first\n.*hint: .*`},
	{name: "a word of control characters", args: []string{"goipvs", "-A", "-t", "\x1b[2J\x9b\xff\u009b"}, exit: 2, stderr: `\?\[2J\?\?\?: illegal .*`},
	{name: "a huge word", args: []string{"goipvs", "-A", "-t", strings.Repeat("1", 100_000)}, exit: 2, stderr: `1{80}\.\.\.: illegal [^1]*10.0.0.1:80.*`},
	{name: "no name", args: []string{"", "-Q"}, exit: 255, stderr: `-Q: .*\n.*hint: .*`},
	{name: "no words at all", args: []string{""}, exit: 0, stderr: ``},

	{name: "garbage", args: words("goipvs -R"), in: strings.NewReader("\x7fELF\x02\x01\x00\xff\xfe\n\n"), exit: 2, stderr: `stdin:1: \?ELF\?+: a command must come first\n.*: nothing was changed`},
	{name: "zero bytes", args: words("goipvs -R"), in: bytes.NewReader(make([]byte, 10_000)), exit: 2, stderr: `stdin:1: \?{80}\.\.\.: a command must come first\n.*: nothing was changed`},
	{name: "a zero byte in a rule", args: words("goipvs -R"), in: strings.NewReader(twoLines + "-A -t 192.0.2.3:80 -s r\x00r\n"), exit: 2, stderr: `stdin:2: r\?r: illegal scheduler specified\n.*: nothing was changed`},
	{name: "a line too long", args: words("goipvs -R"), in: strings.NewReader(twoLines + strings.Repeat("-", 1<<20)), exit: 2, stderr: `read stdin: line too long`},
	{name: "a line break of Windows", args: words("goipvs -R"), in: strings.NewReader("-E -t 192.0.2.1:80 -s rr\r\n\r\n"), exit: 0, stderr: ``},
	{name: "nothing", args: words("goipvs -R"), in: strings.NewReader(""), exit: 0, stderr: ``},
	{name: "one line of many is wrong", args: words("goipvs -R"), in: strings.NewReader(strings.Repeat(twoLines, 1000) + "-X\n"), exit: 2, stderr: `stdin:1001: -X: .*\n.*: nothing was changed`},
	{name: "all lines are wrong", args: words("goipvs -R"), in: strings.NewReader(strings.Repeat("y\n", 1000)), exit: 2, stderr: `(stdin:\d+: y: a command must come first\n.*){20}stdin: too many errors\n.*: nothing was changed`},
	{name: "to restore, wrong", args: words("/sbin/ipvsadm-restore"), in: strings.NewReader("-C\n-A\n"), exit: 2, stderr: `stdin:2: -A: .*\n.*: nothing was changed`},
	{name: "a folder to apply", args: words("goipvs apply /"), exit: 2, stderr: `read /: is a directory`},
	{name: "no file to apply", args: words("goipvs apply /no/such"), exit: 2, stderr: `open /no/such: no such file or directory`},

	{name: "full disk, list", args: words("goipvs -Ln"), out: "/dev/full", exit: 1, stderr: `write /dev/full: no space left on device`},
	{name: "full disk, save", args: words("goipvs -Sn"), out: "/dev/full", exit: 1, stderr: `write /dev/full: no space left on device`},
	{name: "full disk, json", args: words("goipvs -L --json"), out: "/dev/full", exit: 1, stderr: `write /dev/full: no space left on device`},
	{name: "full disk, timeouts", args: words("goipvs -L --timeout"), out: "/dev/full", exit: 1, stderr: `write /dev/full: no space left on device`},
	{name: "full disk, connections", args: words("goipvs -Lnc"), out: "/dev/full", exit: 1, stderr: `write /dev/full: no space left on device`},
	{name: "full disk, version", args: words("goipvs -v"), out: "/dev/full", exit: 1, stderr: `write /dev/full: no space left on device`},
	{name: "no descriptors", args: words("goipvs -Ln"), without: "descriptors", exit: 1, stderr: `open: socket: too many open files`},
	{name: "no /proc", args: words("goipvs -Lnc"), without: "proc", exit: 1, stderr: `open /proc/thread-self/net/ip_vs_conn: no such file or directory`},
	{name: "no /proc, not needed", args: words("goipvs -Ln"), without: "proc", exit: 0, stderr: ``},
}

func words(s string) []string { return strings.Fields(s) }

// TestKernelBadInput: whatever is wrong, the program says so in one sentence
// (and may hint), ends with the right status, soon, and has changed nothing.
func TestKernelBadInput(t *testing.T) {
	lab.Need(t)
	k, err := ipvs.Dial(ipvs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	flush := func() {
		if err := k.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	defer flush()
	s := ipvsadm.Runner{Prog: "goipvs", Stdin: strings.NewReader("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 7\n"),
		Stdout: os.Stdout, Stderr: os.Stderr, Dial: dial}
	if s.Run([]string{"-R"}) != 0 {
		t.Fatal("no table to begin with")
	}
	before := saved(t, k)
	for _, c := range badInputs {
		t.Run(c.name, func(t *testing.T) {
			c.run(t)
			if after := saved(t, k); after != before {
				t.Errorf("the table was changed to\n%s", after)
			}
		})
	}
}

func saved(t *testing.T, k *ipvs.Client) string {
	t.Helper()
	var b strings.Builder
	if err := ipvsadm.Save(&b, k, ipvsadm.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func (c *badInput) run(t *testing.T) {
	var out, errs bytes.Buffer
	var to io.Writer = &out
	if c.out != "" {
		f, err := os.OpenFile(c.out, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		to = f
	}
	in := c.in
	if in == nil {
		in = strings.NewReader("")
	}
	start := run
	if c.without != "" { // starting a program takes its time in the lab
		start = c.start
	}
	if exit := start(c.args, in, to, &errs); exit != c.exit {
		t.Errorf("exit %d, want %d", exit, c.exit)
	}
	want := c.stderr
	if want != "" {
		want = `goipvs: ` + want + `\n`
	}
	if strings.HasPrefix(c.args[0], "/sbin/ipvsadm-restore") {
		want = strings.Replace(want, "goipvs: ", "ipvsadm-restore: ", 1)
	}
	if ok, err := regexp.MatchString(`^`+want+`$`, errs.String()); err != nil || !ok {
		t.Errorf("stderr %q does not match %q (%v)", errs.String(), want, err)
	}
	if c.exit == 2 && out.Len() > 0 {
		t.Errorf("stdout %q", out.String())
	}
}

// start runs the program as a process.
func (c *badInput) start(args []string, in io.Reader, out, errw io.Writer) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = args
	cmd.Env = append(os.Environ(), asProgram+"=1", asCripple+"="+c.without)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, errw
	if c.without == "proc" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	}
	_ = cmd.Run() // the status tells
	return cmd.ProcessState.ExitCode()
}

// TestKernelClosedDescriptors: a program that is started without one of its
// three files works as if that was /dev/null, and does not take a file that it
// opens, the kernel's socket first of all, for the missing one.
func TestKernelClosedDescriptors(t *testing.T) {
	lab.Need(t)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for i, c := range []struct {
		args string
		exit int
	}{{"goipvs -R", 0}, {"goipvs -Ln", 0}, {"goipvs -D -t 192.0.2.99:80", 255}} {
		files := []*os.File{null, null, null}
		files[i] = nil
		p, err := os.StartProcess("/proc/self/exe", words(c.args), &os.ProcAttr{Env: append(os.Environ(), asProgram+"=1"), Files: files})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := p.Wait(); err != nil || s.ExitCode() != c.exit {
			t.Errorf("%s without file %d: %v, %v, want status %d", c.args, i, s, err, c.exit)
		}
	}
}

// TestKernelReaderGone: who reads only the beginning of a listing does not
// leave a program behind that hangs or complains.
func TestKernelReaderGone(t *testing.T) {
	lab.Need(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	var errs bytes.Buffer
	cmd := exec.Command("/proc/self/exe")
	cmd.Args, cmd.Env, cmd.Stdout, cmd.Stderr = words("goipvs -Ln"), append(os.Environ(), asProgram+"=1"), w, &errs
	err = cmd.Run()
	w.Close()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGPIPE || errs.Len() > 0 {
		t.Errorf("%v, stderr %q; want the end by SIGPIPE", err, errs.String())
	}
}

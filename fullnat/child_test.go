package fullnat_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"golang.org/x/sys/unix"
)

// Some tests need an engine in a process of its own: to count its system calls
// and allocations, to take its descriptors away, to have another one take over.
// The test binary is that process when this variable is set.
const childVariable = "FULLNAT_TEST_CHILD"

func TestMain(m *testing.M) {
	if spec := os.Getenv(childVariable); spec != "" {
		if err := beChild(spec, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// childSpec is what a child serves. Its listening sockets, if any, are its
// descriptors from 3 on.
type childSpec struct {
	Services  []fullnat.Service
	Loops     int
	Files     uint64 // limit of descriptors, 0 leaves it
	Reserve   int
	Inherited int
	Plain     bool
}

// childReport is what a child says of itself.
type childReport struct {
	Threads []int
	Conns   int
	Limit   int
	Files   int // open ones, 0 when there is none left to count them by
	Mallocs uint64
	Errors  fullnat.Errors
	Infos   []fullnat.ServiceInfo
	Usage   unix.Rusage
}

func beChild(text string, in io.Reader, out io.Writer) error {
	var spec childSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	if spec.Files > 0 {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: spec.Files, Max: spec.Files}); err != nil {
			return err
		}
	}
	c := fullnat.Config{Loops: spec.Loops, PlainCalls: spec.Plain, Reserve: spec.Reserve, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	for i := range spec.Inherited {
		c.Inherited = append(c.Inherited, os.NewFile(uintptr(3+i), "inherited"))
	}
	e, err := fullnat.New(c)
	if err != nil {
		return err
	}
	defer e.Close()
	if err := e.Apply(spec.Services); err != nil && !errors.Is(err, unix.EMFILE) {
		return err
	}
	return obey(e, in, json.NewEncoder(out))
}

// obey answers each line with a report. An empty input ends the child.
func obey(e *fullnat.Engine, in io.Reader, out *json.Encoder) error {
	for lines := bufio.NewScanner(in); ; {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		r := childReport{Threads: e.Threads(), Conns: e.Conns(), Limit: e.Limit(), Mallocs: m.Mallocs, Errors: e.Errors(), Infos: e.Services()}
		unix.Getrusage(unix.RUSAGE_SELF, &r.Usage)
		if files, err := os.ReadDir("/proc/self/fd"); err == nil {
			r.Files = len(files)
		}
		if err := out.Encode(&r); err != nil {
			return err
		}
		if !lines.Scan() {
			return lines.Err()
		}
		switch lines.Text() {
		case "gc":
			runtime.GC()
		case "drain":
			if err := e.Drain(testContext()); err != nil {
				return err
			}
		}
	}
}

type child struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// spawn starts a child and waits until it serves.
func spawn(t testing.TB, spec childSpec, files ...*os.File) (*child, childReport) {
	t.Helper()
	spec.Inherited, spec.Plain = len(files), spec.Plain || *plain
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.ExtraFiles, cmd.Stderr = files, os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t, cmd, in, json.NewDecoder(out)}
	t.Cleanup(c.end)
	return c, c.read()
}

func (c *child) end() {
	c.in.Close()
	defer time.AfterFunc(patience, func() { c.cmd.Process.Kill() }).Stop()
	c.cmd.Wait()
}

func (c *child) read() (r childReport) {
	c.t.Helper()
	if err := c.out.Decode(&r); err != nil {
		c.t.Fatalf("child: %v", err)
	}
	return r
}

// tell gives the child a command and returns what it says after it.
func (c *child) tell(command string) childReport {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.in, command); err != nil {
		c.t.Fatal(err)
	}
	return c.read()
}

// report asks for one.
func (c *child) report() childReport { c.t.Helper(); return c.tell("report") }

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/bench"
)

// perService is how many real servers a service has.
const perService = 100

// daemonBench measures the whole daemon: it runs the program on a file with n
// servers, full NAT standing in for a kernel's IPVS, which this machine may not
// have, and reads what the daemon says of itself.
func daemonBench(o options, dir string, n int, port string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(dir, "goipvs.toml")
	if err := os.WriteFile(file, config(o, dir, n, port), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(o.daemon, "-c", file)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	defer func() {
		_ = cmd.Process.Kill()
		<-ended
	}()
	began := time.Now()
	for up := 0; up < n; {
		select {
		case <-ended:
			said, _ := os.ReadFile(log.Name())
			return fmt.Errorf("goipvsd ended: %s", said)
		case <-time.After(100 * time.Millisecond):
		}
		if up = serversUp(); time.Since(began) > time.Minute {
			return fmt.Errorf("%d of %d servers are up after a minute", up, n)
		}
	}
	start := time.Since(began)
	time.Sleep(o.interval)
	before, err := sample(cmd.Process.Pid)
	if err != nil {
		return err
	}
	time.Sleep(o.length)
	after, err := sample(cmd.Process.Pid)
	if err != nil {
		return err
	}
	checks, cpu := after.checks-before.checks, after.cpu-before.cpu
	fmt.Printf("| %d | %.1f s | %.0f | %.1f %% | %.0f µs | %s | %.0f | %.1f MiB |\n", n, start.Seconds(), checks/o.length.Seconds(),
		100*cpu.Seconds()/o.length.Seconds(), float64(cpu.Microseconds())/checks, quantile(before.lag, after.lag, 0.99),
		after.late-before.late, after.resident)
	return nil
}

// monitorAt is where the daemon under test tells of itself.
const monitorAt = "127.0.0.1:29393"

func config(o options, dir string, n int, port string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "control = %q\ncontrol_group = \"\"\nstate_dir = %q\nwithout_ipvs = \"fullnat\"\nhttp = %q\n", dir+"/sock", dir, monitorAt)
	fmt.Fprintf(&b, "[check]\ninterval = %q\ntimeout = %q\njitter = 0.05\n", o.interval, o.interval)
	for i := range n {
		if i%perService == 0 {
			v := i / perService
			fmt.Fprintf(&b, "[[virtual]]\naddress = \"127.9.%d.%d:29080\"\nscheduler = \"wlc\"\nforward = \"nat\"\n[virtual.check]\ntype = %q\n", v>>8, v&255, o.kind)
		}
		fmt.Fprintf(&b, "[[virtual.real]]\naddress = \"127.1.%d.%d:%s\"\n", i>>8, i&255, port)
	}
	return b.Bytes()
}

type snapshot struct {
	cpu          time.Duration
	resident     float64 // MiB
	checks, late float64
	lag          map[string]float64 // cumulated, by upper bound
}

func sample(pid int) (s snapshot, err error) {
	s.cpu, s.resident = bench.CPU(pid), bench.Memory(pid, "status", "VmRSS")
	s.lag = make(map[string]float64)
	err = metrics(func(name string, value float64) {
		switch bound, isLag := strings.CutPrefix(name, `goipvs_check_lag_seconds_bucket{le="`); {
		case isLag:
			s.lag[strings.TrimSuffix(bound, `"}`)] = value
		case name == "goipvs_check_lag_seconds_count":
			s.checks = value
		case name == "goipvs_checks_late_total":
			s.late = value
		}
	})
	if err == nil && s.checks == 0 {
		err = errors.New("the daemon counts no checks")
	}
	return s, err
}

// serversUp is 0 while nobody answers.
func serversUp() (n int) {
	_ = metrics(func(name string, value float64) {
		if strings.HasPrefix(name, "goipvs_server_up{") && value == 1 {
			n++
		}
	})
	return n
}

func metrics(each func(name string, value float64)) error {
	r, err := http.Get("http://" + monitorAt + "/metrics")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		line := lines.Text()
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(line[i+1:], 64); err == nil {
			each(line[:i], v)
		}
	}
	return cmp.Or(lines.Err(), discard(r.Body))
}

func discard(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }

// quantile is the bound that this share of the checks between two samples did not
// exceed.
func quantile(before, after map[string]float64, share float64) string {
	least, text := -1.0, "?"
	for bound, n := range after {
		le, err := strconv.ParseFloat(bound, 64)
		if err != nil || n-before[bound] < share*(after["+Inf"]-before["+Inf"]) {
			continue
		}
		if least < 0 || le < least {
			least, text = le, fmt.Sprintf("%.0f ms", le*1000)
		}
	}
	return text
}

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/bench"
	"github.com/goipvs/goipvs/internal/lab/boot"
)

// figure is one measured thing, with all its values.
type figure struct {
	Name   string
	Values []float64
}

// results are the figures of the directors, in the order in which they came.
type results struct {
	names     []string
	directors []string
	values    map[string]map[string][]float64 // by name and director
}

func runOutside(o options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if o.goipvsd, err = filepath.Abs(o.goipvsd); err != nil {
		return err
	}
	if o.against != "" {
		if o.against, err = filepath.Abs(o.against); err != nil {
			return err
		}
	}
	if !o.spread {
		if err := oneProcessor(); err != nil {
			return err
		}
	}
	r := results{directors: strings.Split(o.only, ","), values: make(map[string]map[string][]float64)}
	for round := range o.rounds {
		for _, name := range r.directors {
			fmt.Fprintf(os.Stderr, "round %d: %s\n", round+1, name)
			root, err := packages(name)
			if err != nil {
				return err
			}
			cmd := exec.Command(o.lab, "-kind", "uml", "-timeout", "30m", self, "-inside", name, "-root", root, "-goipvsd", o.goipvsd, "-against", o.against,
				"-servers", strconv.Itoa(o.servers), "-steady", o.steady.String(), "-patience", o.patience.String(), "-steps", o.steps)
			if err := r.follow(name, cmd); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	r.print(o)
	return nil
}

// oneProcessor keeps this process, and the kernel that it starts, on one
// processor. User-mode Linux has only one, but is two processes that hand over to
// each other at every system call and first touch of a page: between two
// processors, where the other must be woken from its idleness first, that takes
// twice as long, the longer the less else the machine has to do.
func oneProcessor() error {
	var have, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &have); err != nil {
		return fmt.Errorf("processors: %w", err)
	}
	last := 0
	for i := range len(have) * 64 {
		if have.IsSet(i) {
			last = i // the first is the one that interrupts go to
		}
	}
	one.Set(last)
	if err := unix.SchedSetaffinity(os.Getpid(), &one); err != nil {
		return fmt.Errorf("keep to processor %d: %w", last, err)
	}
	return nil
}

func packages(name string) (string, error) {
	switch name {
	case "keepalived":
		return boot.Keepalived()
	case "ldirectord":
		return boot.Ldirectord()
	}
	return "", nil
}

// follow runs the inner half and takes its figures.
func (r *results) follow(director string, cmd *exec.Cmd) error {
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	begun := make(map[string]time.Duration)
	for in := bufio.NewScanner(out); in.Scan(); {
		var f figure
		if json.Unmarshal(in.Bytes(), &f) != nil {
			fmt.Fprintln(os.Stderr, in.Text())
			continue
		}
		if name, ok := strings.CutPrefix(f.Name, "begin "); ok {
			begun[name] = bench.CPU(bench.Tree(cmd.Process.Pid)...)
			continue
		}
		if name, ok := strings.CutPrefix(f.Name, "end "); ok {
			f = figure{name, []float64{(bench.CPU(bench.Tree(cmd.Process.Pid)...) - begun[name]).Seconds()}}
		}
		if r.values[f.Name] == nil {
			r.names = append(r.names, f.Name)
			r.values[f.Name] = make(map[string][]float64)
		}
		r.values[f.Name][director] = append(r.values[f.Name][director], f.Values...)
	}
	return cmd.Wait()
}

// print writes a table: medians, and the most where there are several values.
func (r *results) print(o options) {
	fmt.Printf("\n%s, %d real servers, a tenth of them silent, checked every %d s; %d rounds: median (lowest to highest)\n\n", time.Now().Format(time.DateOnly), o.servers, interval, o.rounds)
	fmt.Printf("| | %s |", strings.Join(r.directors, " | "))
	if len(r.directors) > 1 {
		fmt.Printf(" %s to %s |", r.directors[0], r.directors[1])
	}
	fmt.Println("\n|---|" + strings.Repeat("---|", len(r.directors)+min(len(r.directors)-1, 1)))
	for _, name := range r.names {
		fmt.Printf("| %s |", name)
		var medians []float64
		for _, d := range r.directors {
			v := slices.Sorted(slices.Values(r.values[name][d]))
			if len(v) == 0 {
				fmt.Print(" never |")
				continue
			}
			medians = append(medians, v[len(v)/2])
			fmt.Printf(" %s |", spread(v))
		}
		if len(r.directors) > 1 {
			ratio := ""
			if len(medians) > 1 && medians[1] > 0 {
				ratio = fmt.Sprintf(" %.2f", medians[0]/medians[1])
			}
			fmt.Printf("%s |", ratio)
		}
		fmt.Println()
	}
}

func spread(v []float64) string {
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', max(0, 1-int(f/100)), 64) }
	if len(v) == 1 {
		return number(v[0])
	}
	return fmt.Sprintf("%s (%s to %s)", number(v[len(v)/2]), number(v[0]), number(v[len(v)-1]))
}

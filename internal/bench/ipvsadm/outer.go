package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goipvs/goipvs/internal/bench"
	"github.com/goipvs/goipvs/internal/lab/boot"
)

// figure is what was measured of one command, over its rounds.
type figure struct {
	name string
	cpu  []time.Duration
	rss  int64 // KiB, the most
}

// options are those of the outer half.
type options struct {
	lab, goipvs, ipvsadm, doc string
	rounds, large             int
	stock                     bool
}

func outerMain(o options, dir string) (err error) {
	goipvs, ipvsadm := o.goipvs, o.ipvsadm
	if ipvsadm == "" {
		if ipvsadm, err = boot.Ipvsadm(); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if goipvs, err = filepath.Abs(goipvs); err != nil {
		return err
	}
	args := []string{self, "-inside", dir, "-goipvs", goipvs, "-ipvsadm", ipvsadm, "-rounds", strconv.Itoa(o.rounds), "-large", strconv.Itoa(o.large)}
	var figures []*figure
	if figures, err = runInner("uml", dir, figures, o.lab, args...); err != nil {
		return err
	}
	if o.stock {
		if figures, err = runInner("qemu", dir, figures, o.lab, append(args, "-one-shot")...); err != nil {
			return err
		}
	}
	return report(figures, o.doc)
}

// runInner runs the inner half in a kernel of the kind and adds its figures.
func runInner(kind, dir string, figures []*figure, lab string, args ...string) ([]*figure, error) {
	cmd := exec.Command(lab, append([]string{"-kind", kind, "-timeout", "80m", "-memory", "3072"}, args...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	figures = follow(out, cmd.Process.Pid, dir, figures)
	return figures, cmd.Wait()
}

// follow reads the inner half's marks and the CPU clock at each.
func follow(r io.Reader, pid int, dir string, figures []*figure) []*figure {
	var begin time.Duration
	marks := 0
	for in := bufio.NewScanner(r); in.Scan(); {
		f := strings.Split(in.Text(), "\t")
		if len(f) < 2 {
			fmt.Println(in.Text())
			continue
		}
		switch i := slices.IndexFunc(figures, func(x *figure) bool { return x.name == f[1] }); f[0] {
		case "begin":
			if i < 0 {
				figures = append(figures, &figure{name: f[1]})
			}
			begin = kernelCPU(pid)
		case "end":
			cpu := kernelCPU(pid) - begin
			figures[i].cpu = append(figures[i].cpu, cpu)
			fmt.Printf("%-45s %7.2f s\n", f[1], cpu.Seconds())
		case "rss":
			kib, _ := strconv.ParseInt(f[2], 10, 64)
			figures[i].rss = max(figures[i].rss, kib)
			continue
		case "cpu": // measured inside
			if i < 0 {
				figures = append(figures, &figure{name: f[1]})
				i = len(figures) - 1
			}
			us, _ := strconv.ParseInt(f[2], 10, 64)
			kib, _ := strconv.ParseInt(f[3], 10, 64)
			figures[i].cpu = append(figures[i].cpu, time.Duration(us)*time.Microsecond)
			figures[i].rss = max(figures[i].rss, kib)
			fmt.Printf("%-45s %7.2f s\n", f[1], float64(us)/1e6)
			continue
		}
		marks++
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("mark-%d", marks)), nil, 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "bench-ipvsadm:", err)
		}
	}
	return figures
}

// kernelCPU is what the kernel that the lab has started has used.
func kernelCPU(lab int) time.Duration { return bench.CPU(bench.Tree(lab)[1:]...) }

func (f *figure) median() time.Duration {
	s := slices.Sorted(slices.Values(f.cpu))
	return s[len(s)/2]
}

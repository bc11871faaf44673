// Command labshell is what `make lab` runs in the lab's kernel: it builds a
// client, a router, a director and real servers, and starts a shell on the
// director. Two more commands are there under names of their own:
//
//	on HOST COMMAND...    runs a command on another host
//	ask ADDRESS:PORT [N]  asks who serves there, N times
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goipvs/goipvs/internal/lab/topo"
)

func main() {
	var err error
	switch args := os.Args[1:]; filepath.Base(os.Args[0]) {
	case "on":
		err = on(args)
	case "ask":
		err = ask(args)
	default:
		err = shell()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

// shell builds the network and gives it to a person until the shell ends.
func shell() (err error) {
	servers := flag.Int("servers", 3, "real servers")
	method := flag.String("method", "nat", "what the real servers are ready for: nat, dr, ipip, gre, gue")
	goipvs := flag.String("goipvs", "", "the goipvs to put on the path")
	flag.Parse()
	net, err := topo.New(topo.Spec{Servers: *servers, Clients: 2, Router: true, IPv6: true, Named: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	if err := net.Prepare(topo.Method(*method)); err != nil {
		return err
	}
	for _, s := range net.Servers {
		for _, network := range []string{"tcp", "udp"} {
			for _, port := range []uint16{80, 8080} {
				if _, err := s.Serve(network, port); err != nil {
					return err
				}
			}
		}
	}
	path, err := tools(*goipvs)
	if err != nil {
		return err
	}
	defer os.RemoveAll(path)
	explain(net, *method)
	return enter(net.Director, path)
}

// tools makes a folder of the commands that the shell offers.
func tools(goipvs string) (dir string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "lab-tools-"); err != nil {
		return "", err
	}
	for _, name := range []string{"on", "ask"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	if goipvs == "" {
		return dir, nil
	}
	if goipvs, err = filepath.Abs(goipvs); err != nil {
		return "", err
	}
	return dir, os.Symlink(goipvs, filepath.Join(dir, "goipvs"))
}

func explain(net *topo.Net, method string) {
	var names []string
	for _, h := range net.Hosts() {
		names = append(names, h.Name)
	}
	fmt.Printf(`This is a shell on the director of a real network, in a kernel of its own.
virtual addresses %s and %s; real servers serve tcp and udp on ports 80 and 8080:
`, net.VIP4, net.VIP6)
	for _, s := range net.Servers {
		fmt.Printf("  %-5s %s  %s\n", s.Name, s.Addr4, s.Addr6)
	}
	fmt.Printf(`hosts: %s
real servers are ready for: %s (make lab METHOD=nat|dr|ipip|gre|gue)

  goipvs -A -t %s:80 -s rr && goipvs -a -t %[3]s:80 -r %s:80 %s
  on client1 ask %[3]s:80 10
  on rs1 COMMAND...

`, strings.Join(names, " "), method, net.VIP4, net.Servers[0].Addr4, map[string]string{"nat": "-m", "dr": "-g"}[method])
}

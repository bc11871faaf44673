// Command program is what the tests of the lab run in it: the first argument
// says what to do.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	do := map[string]func(args []string){
		"exit":     exit,
		"signal":   kill,
		"args":     func(args []string) { fmt.Printf("%q\n", args) },
		"env":      func(args []string) { fmt.Printf("%q\n", os.Getenv(args[0])) },
		"cat":      func([]string) { io.Copy(os.Stdout, os.Stdin) },
		"streams":  streams,
		"big":      big,
		"write":    write,
		"show":     show,
		"panic":    func([]string) { must(os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)); sleep() },
		"hang":     func([]string) { fmt.Println("hanging"); sleep() },
		"deaf":     deaf,
		"leave":    leave,
		"terminal": terminal,
	}
	do[os.Args[1]](os.Args[2:])
}

func exit(args []string) {
	n, err := strconv.Atoi(args[0])
	must(err)
	os.Exit(n)
}

func kill(args []string) {
	n, err := strconv.Atoi(args[0])
	must(err)
	must(syscall.Kill(os.Getpid(), syscall.Signal(n)))
	sleep()
}

// streams writes what a terminal in between would change.
func streams([]string) {
	fmt.Print("to stdout\n\x03\x04\x11\x13\x1a\x7f\xff\t\r\n")
	fmt.Fprint(os.Stderr, "to stderr\n")
}

// big writes as many MiB as it is told, each line with its number.
func big(args []string) {
	n, err := strconv.Atoi(args[0])
	must(err)
	var b bytes.Buffer
	for i := range n << 16 {
		fmt.Fprintf(&b, "%015d\n", i)
	}
	_, err = os.Stdout.Write(b.Bytes())
	must(err)
}

func write(args []string) { must(os.WriteFile(args[0], []byte(args[1]), 0o644)) }

// show prints facts about the machine.
func show(args []string) {
	host, _ := os.Hostname()
	wd, _ := os.Getwd()
	lo, _ := os.ReadFile("/sys/class/net/lo/flags")
	_, ipvs := os.Stat("/proc/net/ip_vs")
	tmp := os.WriteFile(os.TempDir()+"/x", nil, 0o600)
	fmt.Println("host", host)
	fmt.Println("uid", os.Getuid())
	fmt.Println("dir", wd)
	fmt.Println("lo", strings.TrimSpace(string(lo)))
	fmt.Println("ipvs", ipvs == nil)
	fmt.Println("temp", os.TempDir(), tmp == nil)
	fmt.Println("lab", os.Getenv("GOIPVS_LAB"))
	// SCTP is a module that only the kernel's own request can have loaded.
	_, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, syscall.IPPROTO_SCTP)
	fmt.Println("autoload", err == nil)
}

// deaf neither ends on SIGQUIT nor says anything.
func deaf([]string) {
	signal.Ignore(syscall.SIGQUIT)
	fmt.Println("deaf")
	sleep()
}

// leave leaves a process behind that holds stdout open.
func leave([]string) {
	cmd := exec.Command("/proc/self/exe", "hang")
	cmd.Stdout = os.Stdout
	must(cmd.Start())
	fmt.Println("left")
}

// terminal asks its terminal for a line.
func terminal([]string) {
	fmt.Print("name? ")
	var name string
	fmt.Scanln(&name)
	fmt.Printf("hello %s\n", name)
}

func sleep() { time.Sleep(time.Hour) }

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "program:", err)
		os.Exit(99)
	}
}

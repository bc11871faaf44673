package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/topo"
)

// enter runs a shell on a host; its status is nobody's error. A person's start
// files are left out: they may wait for what this kernel does not have.
func enter(h *topo.Host, tools string) error {
	cmd := exec.Command("/bin/sh", "-i")
	if bash, err := exec.LookPath("bash"); err == nil {
		cmd = exec.Command(bash, "--norc", "-i")
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "PATH="+tools+":"+os.Getenv("PATH"), "PS1="+h.Name+"# ")
	err := h.Do(cmd.Start)
	if err != nil {
		return err
	}
	var status *exec.ExitError
	if err = cmd.Wait(); errors.As(err, &status) {
		return nil
	}
	return err
}

// on becomes a command on the named host.
func on(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: on HOST COMMAND [ARGUMENT...]")
	}
	runtime.LockOSThread()
	ns, err := netns.GetFromName(args[0])
	if err != nil {
		return fmt.Errorf("host %s: %w", args[0], err)
	}
	if err := netns.Set(ns); err != nil {
		return fmt.Errorf("enter %s: %w", args[0], err)
	}
	path, err := exec.LookPath(args[1])
	if err != nil {
		return err
	}
	return unix.Exec(path, args[1:], os.Environ())
}

// ask prints who answers at an address.
func ask(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("usage: ask ADDRESS:PORT [TIMES]")
	}
	times := 1
	if len(args) == 2 {
		var err error
		if times, err = strconv.Atoi(args[1]); err != nil || times < 1 {
			return fmt.Errorf("ask: %q is no number of times", args[1])
		}
	}
	for range times {
		line, err := answer(args[0])
		if err != nil {
			return err
		}
		fmt.Print(line)
	}
	return nil
}

func answer(address string) (string, error) {
	const patience = 5 * time.Second
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(c, "who"); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

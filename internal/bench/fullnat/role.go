package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// selfCommand is this program in a role.
func selfCommand(role ...string) *exec.Cmd {
	return as(exec.Command("/proc/self/exe"), role...)
}

// as gives a program, which is this one or another build of it, a role.
func as(cmd *exec.Cmd, role ...string) *exec.Cmd {
	cmd.Env = append(os.Environ(), roleVariable+"="+strings.Join(role, " "))
	return cmd
}

// play is a role: proxy AT SERVER..., server AT, client KIND COUNT WINDOW TO
// LENGTH RATE THREADS.
func play(words []string) error {
	switch words[0] {
	case "proxy":
		return beProxy(netip.MustParseAddrPort(words[1]), words[2:])
	case "server":
		return beServer(netip.MustParseAddr(words[1]))
	case "client":
		l := load{kind: words[1]}
		var err1, err2 error
		l.count, err1 = strconv.Atoi(words[2])
		l.window, err2 = strconv.Atoi(words[3])
		length, err3 := time.ParseDuration(words[5])
		var err4 error
		l.rate, err4 = strconv.Atoi(words[6])
		threads, err5 := strconv.Atoi(words[7])
		if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
			return fmt.Errorf("client %q: %w", words, err)
		}
		return beClient(l, netip.MustParseAddrPort(words[4]), length, threads)
	}
	return fmt.Errorf("no role %q", words[0])
}

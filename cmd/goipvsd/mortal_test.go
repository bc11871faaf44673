package main

import (
	"errors"
	"iter"
	"os"
	"strconv"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// killAfter is the number of kernel changes after which the daemon dies.
const killAfter = "GOIPVSD_TEST_KILL_AFTER"

// mortal is a kernel client that kills its process after so many changes.
type mortal struct {
	*ipvs.Client
	left int
}

func newMortal(n string) *mortal {
	left, err := strconv.Atoi(n)
	if err != nil {
		panic(err)
	}
	c, err := ipvs.Dial(ipvs.Options{})
	if err != nil {
		panic(err)
	}
	return &mortal{c, left}
}

// Apply makes the changes one by one, and dies between two of them.
func (m *mortal) Apply(changes iter.Seq[ipvs.Change]) error {
	var failed []*ipvs.OpError
	i := 0
	for c := range changes {
		var op *ipvs.OpError
		if errors.As(m.Client.Do(c), &op) {
			op.Index = i
			failed = append(failed, op)
		}
		i++
		if m.left--; m.left <= 0 {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	}
	if len(failed) > 0 {
		return &ipvs.BatchError{Failed: failed}
	}
	return nil
}

//go:build goipvs_split

package main

import (
	"bufio"
	"errors"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
)

// hostNames has goipvs-verbs ask DNS: package net alone would double the time
// that a one-shot command takes, and hardly any asks for a name.
func hostNames() ipvsadm.HostNames { return &helper{} }

// helper is goipvs-verbs as a child that answers questions (dns.Serve). It is
// started by the first one, and ends when this program does.
type helper struct {
	questions *os.File
	answers   *os.File
	lines     *bufio.Reader
	err       error // it cannot be asked any more
}

// patience is what may pass beyond the time that the helper takes for an answer.
const patience = 20 * time.Second

func (h *helper) Address(name string, f ipvs.Family) (netip.Addr, error) {
	line, err := h.ask(f.String()+" "+name, time.Now().Add(patience))
	if err != nil {
		return netip.Addr{}, err
	}
	return netip.ParseAddr(line)
}

func (h *helper) Names(deadline time.Time, addrs []netip.Addr) map[netip.Addr]string {
	q := strconv.AppendInt([]byte("names "), max(0, time.Until(deadline).Milliseconds()), 10)
	for _, a := range addrs {
		q = a.AppendTo(append(q, ' '))
	}
	line, err := h.ask(string(q), deadline.Add(patience))
	words := strings.Fields(line)
	if err != nil || len(words) != len(addrs) {
		return nil // numbers then
	}
	names := make(map[netip.Addr]string)
	for i, name := range words {
		if name != "-" {
			names[addrs[i]] = name
		}
	}
	return names
}

// ask sends a line and returns the one that comes back.
func (h *helper) ask(question string, deadline time.Time) (answer string, err error) {
	if h.questions == nil && h.err == nil {
		h.err = h.start()
	}
	if h.err != nil {
		return "", h.err
	}
	if err = h.answers.SetReadDeadline(deadline); err == nil {
		if _, err = io.WriteString(h.questions, question+"\n"); err == nil {
			answer, err = h.lines.ReadString('\n')
		}
	}
	if err != nil {
		h.err = errors.New("goipvs-verbs does not answer: " + err.Error())
		return "", h.err
	}
	answer = strings.TrimSuffix(answer, "\n")
	if reason, refused := strings.CutPrefix(answer, "error "); refused {
		return "", errors.New(reason)
	}
	return answer, nil
}

func (h *helper) start() error {
	in, questions, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	answers, out, err := os.Pipe()
	if err != nil {
		questions.Close()
		return err
	}
	defer out.Close()
	err = companion(func(path string) error {
		_, err := os.StartProcess(path, []string{"goipvs-verbs", "answer-names"}, &os.ProcAttr{Files: []*os.File{in, out, os.Stderr}})
		return err
	})
	if err != nil {
		questions.Close()
		answers.Close()
		return err
	}
	h.questions, h.answers, h.lines = questions, answers, bufio.NewReader(answers)
	return nil
}

package healthcheck

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"golang.org/x/sys/unix"
)

// Class puts the error of a probe into one word, for metrics and filters: ""
// for none, "own" for trouble of ours, else "timeout", "refused", "reset",
// "unreachable", "tls", "flood" or "answer", which is any wrong answer.
func Class(err error) string {
	if err == nil {
		return ""
	}
	if Judge(err) == Unknown {
		return "own"
	}
	for _, c := range classes {
		if c.is(err) {
			return c.name
		}
	}
	return "answer"
}

var classes = []struct {
	name string
	is   func(error) bool
}{
	{"timeout", anyOf(ErrTimeout, unix.ETIMEDOUT)},
	{"refused", anyOf(unix.ECONNREFUSED)},
	{"reset", anyOf(unix.ECONNRESET, unix.EPIPE)},
	{"unreachable", anyOf(unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN)},
	{"flood", anyOf(ErrFlood)},
	{"tls", isTLS},
}

func anyOf(targets ...error) func(error) bool {
	return func(err error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
}

func isTLS(err error) bool {
	var (
		verify *tls.CertificateVerificationError
		record tls.RecordHeaderError
		alert  tls.AlertError
		name   x509.HostnameError
		host   *handshakeError
	)
	return errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &name) || errors.As(err, &host)
}

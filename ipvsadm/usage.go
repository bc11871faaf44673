package ipvsadm

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Exit statuses of the ipvsadm language. Verbs have their own.
const (
	exitOK = 0
	// exitList: a listing could not be made, no such service above all.
	exitList = 1
	// exitUsage: a bad value or combination; also no IPVS, or no right to use it.
	exitUsage = 2
	// exitKernel: the kernel refused; also an option that does not exist.
	exitKernel = 255
)

// UsageError is a command line that cannot be understood.
type UsageError struct {
	Word   string // the offending word as it was typed, or the option it belongs to
	Reason string
	// Status is ipvsadm's exit status for it: 2, or 255 where the words could
	// not even be told apart (unknown option, missing argument, no command).
	Status int
}

// Error is "WORD: REASON".
func (e *UsageError) Error() string {
	return printable(e.Word) + ": " + e.Reason
}

func usage(word, reason string) error { return &UsageError{word, reason, exitUsage} }

func tryHelp(word, reason string) error { return &UsageError{word, reason, exitKernel} }

// blame says which word an error is about that does not know it.
func blame(err error, word string) error {
	var u *UsageError
	if errors.As(err, &u) && u.Word == "" {
		u.Word = word
	}
	return err
}

// printable is word as it may be shown on a terminal: control characters are
// replaced and a very long word is cut.
func printable(word string) string {
	const limit = 80
	if word == "" {
		return `""`
	}
	if len(word) <= limit && !control(word) {
		return word
	}
	if len(word) > limit {
		word = word[:limit] + "..."
	}
	return strings.Map(func(r rune) rune {
		if unprintable(r) {
			return '?'
		}
		return r
	}, word)
}

// control reports whether a word has something in it that is not to be seen on
// a terminal, or that a terminal would obey: control characters, those that are
// not ASCII included, and bytes that are no UTF-8.
func control(word string) bool { return strings.IndexFunc(word, unprintable) >= 0 }

func unprintable(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) }

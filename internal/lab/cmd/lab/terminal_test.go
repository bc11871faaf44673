package main

import (
	"io"
	"testing"
)

// TestTerminal types a line into the program's terminal, which echoes it.
func TestTerminal(t *testing.T) {
	t.Parallel()
	cmd := command(nil, "-tty", programPath, "terminal")
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	prompt := make([]byte, len("name? "))
	if _, err := io.ReadFull(out, prompt); err != nil || string(prompt) != "name? " {
		t.Errorf("prompt %q, %v", prompt, err)
	}
	if _, err := io.WriteString(in, "Wensongx\x7f\n"); err != nil {
		t.Error(err)
	}
	rest, err := io.ReadAll(out)
	if want := "Wensongx\b \b\r\nhello Wensong\r\n"; err != nil || string(rest) != want {
		t.Errorf("got %q, %v, want %q", rest, err, want)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

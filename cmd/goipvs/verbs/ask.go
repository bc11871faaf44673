package verbs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/goipvs/goipvs/director/control"
)

// socketFlag says which daemon is meant.
var socketFlag = &cli.StringFlag{Name: "socket", Value: control.DefaultSocket, EnvVars: []string{"GOIPVS_SOCKET"}, Usage: "control socket of goipvsd, a `FILE`"}

// patience is how long an answer of the daemon may take: a reload may have to
// wait for names to be resolved.
const patience = time.Minute

// ask makes one request of the daemon.
func ask(c *cli.Context, verb string, args, result any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := control.Dial(ctx, c.String("socket"))
	if err != nil {
		return notThere(err, c.String("socket"))
	}
	defer client.Close()
	return client.Do(ctx, verb, args, result)
}

// hinted is an error with what may help.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

func notThere(err error, socket string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return hinted{fmt.Errorf("goipvsd does not run: nobody listens on %s", socket), "systemctl start goipvsd, or goipvsd start"}
	case errors.Is(err, fs.ErrPermission):
		return hinted{fmt.Errorf("connect to %s: permission denied", socket), "root may, and the members of control_group in goipvs.toml"}
	}
	return err
}

// answer reports what became of a request: an error with its hint, else what
// show prints, or the result as JSON.
func (v *verbs) answer(c *cli.Context, verb string, args, result any, show func()) error {
	if err := ask(c, verb, args, result); err != nil {
		v.refused(err)
		return nil
	}
	if c.Bool("json") {
		return writeJSON(v.out, result)
	}
	show()
	return nil
}

// writeJSON writes one document as all verbs have it.
func writeJSON(w io.Writer, document any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(document)
}

// refused says why the daemon did not do it.
func (v *verbs) refused(err error) {
	status := failed
	var own *control.Error
	var h hinted
	hint := ""
	switch {
	case errors.As(err, &own):
		hint = own.Hint
		if own.Code == control.BadArgs {
			status = usage
		}
	case errors.As(err, &h):
		hint = h.hint
	}
	v.fail(status, err)
	if hint != "" {
		fmt.Fprintf(v.errw, "goipvs: hint: %s\n", hint)
	}
}

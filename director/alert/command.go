package alert

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/goipvs/goipvs/healthcheck"
)

// sendCommand runs the command: argv as it is, the event in its environment, in
// a process group of its own that is killed when the time is over.
func sendCommand(ctx context.Context, c *Config, _ string, list []Event) error {
	if len(c.Command) == 0 {
		return nil
	}
	e := &list[0]
	env := []string{
		"GOIPVS_EVENT=" + e.Alert, "GOIPVS_NAME=" + e.Event, "GOIPVS_VIRTUAL=" + e.Virtual, "GOIPVS_REAL=" + e.Real,
		"GOIPVS_REASON=" + cmp.Or(e.Reason, e.Text),
	}
	out, err := healthcheck.Confinement{User: c.User}.Run(ctx, c.Command, env)
	if err != nil && out != "" {
		return fmt.Errorf("%s: %w: %s", c.Command[0], err, lastLine(out))
	} else if err != nil {
		return fmt.Errorf("%s: %w", c.Command[0], err)
	}
	return nil
}

// lastLine is what a program most likely says of its end.
func lastLine(out string) string {
	const most = 200
	out = strings.TrimSpace(out)
	out = out[strings.LastIndexByte(out, '\n')+1:]
	return out[:min(len(out), most)]
}

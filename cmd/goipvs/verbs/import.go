package verbs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/config/importer"
	"github.com/goipvs/goipvs/ipvsadm"
	"github.com/goipvs/goipvs/ipvsadm/dns"
)

// partly is the status of an import that could not carry everything over.
const partly = 3

func (v *verbs) imports() *cli.Command {
	return &cli.Command{
		Name: "import", ArgsUsage: "ldirectord|keepalived FILE",
		Usage: "make a goipvs.toml of the configuration of ldirectord or keepalived",
		Description: "The configuration goes to standard output, and always loads. Each line of FILE that could not be carried over goes to standard error, " +
			"as FILE:LINE: what becomes of it. Exit status 0: all is carried over, 3: not all, 2: FILE cannot be read, or bad command line. " +
			"FILE may be - for standard input.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config-id", Usage: "take the lines that keepalived takes with --config-id `ID`; without it, as keepalived does, those for this host's name up to the first dot"},
			jsonFlag,
		},
		Action: v.convert,
	}
}

// converters are the programs whose configuration can be imported.
var converters = map[string]func(string, []byte, importer.Options) importer.Result{
	"ldirectord": importer.Ldirectord,
	"keepalived": importer.Keepalived,
}

func (v *verbs) convert(c *cli.Context) error {
	program, file := c.Args().Get(0), c.Args().Get(1)
	convert := converters[program]
	switch {
	case c.NArg() != 2:
		return usageError{fmt.Errorf("goipvs import takes ldirectord or keepalived and a FILE (- is standard input)")}
	case convert == nil:
		return usageError{fmt.Errorf("import: unknown program %q (ldirectord or keepalived)", program)}
	case c.IsSet("config-id") && program != "keepalived":
		return usageError{fmt.Errorf("import: --config-id is for keepalived")}
	}
	src, err := v.source(file)
	if err != nil {
		v.fail(usage, fmt.Errorf("import %s: %w", program, err))
		return nil
	}
	names := &ipvsadm.Resolver{System: dns.System{}}
	r := convert(file, src, importer.Options{
		Host: names.Host, Port: names.Port, Glob: filepath.Glob, ConfigID: configID(c),
		Read: config.ReadFile,
	})
	if len(r.Lost) > 0 {
		v.status = partly
	}
	if c.Bool("json") {
		return v.importJSON(program, file, r)
	}
	for _, p := range r.Lost {
		fmt.Fprintln(v.errw, p)
	}
	if n := len(r.Lost); n > 0 {
		are := fmt.Sprintf("%d lines of %s are not carried over as they are", n, file)
		if n == 1 {
			are = "1 line of " + file + " is not carried over as it is"
		}
		fmt.Fprintf(v.errw, "goipvs: import %s: %s\n", program, are)
	}
	_, err = fmt.Fprintf(v.out, "# Made of %s by goipvs import %s.\n%s", oneLine(file), program, separated(config.Print(r.Config)))
	return err
}

// configID is keepalived's: whoever converts the file of another host names it.
func configID(c *cli.Context) string {
	if c.IsSet("config-id") {
		return c.String("config-id")
	}
	name, _ := os.Hostname() // without a name no line is for us
	return untilDot(name)
}

func untilDot(name string) string {
	short, _, _ := strings.Cut(name, ".")
	return short
}

// separated is the text with an empty line before it, if there is any.
func separated(toml []byte) string {
	if len(toml) == 0 {
		return ""
	}
	return "\n" + string(toml)
}

func oneLine(s string) string { return strings.Map(visible, s) }

func visible(r rune) rune {
	if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\ufffd' {
		return '?'
	}
	return r
}

// source reads the file to be imported; - is standard input.
func (v *verbs) source(file string) (b []byte, err error) {
	if file != "-" {
		b, err = config.ReadFile(file)
	} else if b, err = io.ReadAll(io.LimitReader(v.in, config.MaxFile+1)); err == nil && len(b) > config.MaxFile {
		err = fmt.Errorf("standard input: the file is too large")
	}
	if err == nil && (bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff"))) {
		err = fmt.Errorf("%s: the file is UTF-16: save it as UTF-8", file)
	}
	return b, err
}

// importJSON prints one document: the configuration as text, and what is lost.
func (v *verbs) importJSON(program, file string, r importer.Result) error {
	type lost struct {
		File string `json:"file"`
		Line int    `json:"line"`
		Text string `json:"text"`
	}
	doc := struct {
		Program  string `json:"program"`
		File     string `json:"file"`
		Services int    `json:"services"`
		TOML     string `json:"toml"`
		Lost     []lost `json:"lost"`
	}{program, file, len(r.Config.Virtuals), string(config.Print(r.Config)), []lost{}}
	for _, p := range r.Lost {
		doc.Lost = append(doc.Lost, lost{p.File, p.Line, p.Text})
	}
	return writeJSON(v.out, doc)
}

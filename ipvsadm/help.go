package ipvsadm

import "strings"

// PROG stands for the program's name, here and in examples.
const helpUsage = `Usage: PROG COMMAND [OPTION]...
       goipvs VERB [OPTION]... FILE

Verbs
  goipvs apply FILE                   make the table what a rules file says
  goipvs diff FILE                    print the changes that apply would make
  goipvs realserver add|del|show|check [VIP]...
                                      make this host a real server, undo it,
                                      prove it
  goipvs vip add|del VIP... --dev IF  give this director a VIP, or take it away
  goipvs tune show|set|undo [NAME[=VALUE]]...
                                      show, explain and set the kernel knobs of
                                      a director
  goipvs doctor [--service SERVICE]   say what is wrong with this director or
                                      real server
  goipvs status                       show services and real servers: their
                                      health, since when and why, weights,
                                      connections
  goipvs explain SERVICE|SERVER       tell what happened to a service or a real
                                      server, and why
  goipvs drain SERVER                 give a real server no new connections and
                                      remove it when it is idle
  goipvs maintain SERVER              take a real server out as if its checks
                                      had failed
  goipvs weight SERVER WEIGHT         give a real server another weight
  goipvs enable SERVER                take back drain, maintain and weight
  goipvs reload                       have goipvsd read its file anew and say
                                      what came of it
  goipvs top                          show the busiest real servers, again every
                                      second
  goipvs import ldirectord|keepalived FILE
                                      make a goipvs.toml of the configuration of
                                      ldirectord or keepalived
  goipvs help [TOPIC|VERB]            TOPIC: schedulers, forwarding,
                                      fullnat, persistence, restore
`
const (
	helpColumn = 38 // where the texts begin
	helpWidth  = 80
)

// help is the text of --help.
func help(prog string) string {
	var b strings.Builder
	b.WriteString(helpUsage)
	for i := range manual {
		helpGroup(&b, &manual[i])
	}
	b.WriteString("\nExamples\n")
	for _, e := range examples {
		b.WriteString("  " + e.Title + ":\n")
		for line := range strings.Lines(e.Lines) {
			b.WriteString("    " + line)
		}
	}
	return strings.ReplaceAll(b.String(), "PROG", prog)
}

// helpGroup writes a line for each option, those of a command deeper than the
// command, and those that are folded in one paragraph.
func helpGroup(b *strings.Builder, g *Group) {
	b.WriteString("\n" + g.Title + "\n")
	indent := "  "
	var folded []string
	for i := range g.Options {
		o := &g.Options[i]
		if o.fold {
			folded = append(folded, strings.TrimSpace(o.spelling("|")))
			continue
		}
		if o.Command() {
			indent = "  "
		}
		line := indent + o.spelling(", ")
		b.WriteString(line + blanks(helpColumn-len(line)) + o.Brief + "\n")
		if o.list {
			helpWords(b, blanks(helpColumn), " ", strings.Fields(o.Words))
		}
		if o.Command() {
			indent += "  "
		}
	}
	helpWords(b, indent, ", ", folded)
}

// helpWords writes as many words on a line as it holds.
func helpWords(b *strings.Builder, indent, between string, words []string) {
	var line string
	for i, w := range words {
		if i < len(words)-1 {
			w += between
		}
		if len(indent+line+strings.TrimRight(w, " ")) > helpWidth {
			b.WriteString(indent + strings.TrimRight(line, " ") + "\n")
			line = ""
		}
		line += w
	}
	if line != "" {
		b.WriteString(indent + line + "\n")
	}
}

func blanks(n int) string { return strings.Repeat(" ", n) }

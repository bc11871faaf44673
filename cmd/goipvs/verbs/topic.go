package verbs

import "strings"

// Topic is a page of help that is about no single command.
type Topic struct {
	Name   string // what is typed after goipvs help
	Brief  string // a few words, no sentence
	Blocks []Block
}

// Block is a part of a topic; one of its fields is set.
type Block struct {
	Text  string      // a paragraph
	Terms [][2]string // a term and what it means
	Table [][]string  // its first row is the head; the cells of the first column are short
	Code  string      // to be typed as it stands
}

// TableWidth is how wide a table is at most: a manual page indents it, and
// terminals have 80 columns.
const TableWidth = 72

const textWidth = 78

// Topics are all pages, in the order of their list. Callers must not change them.
func Topics() []Topic {
	return []Topic{schedulers, forwarding, fullNAT, persistence, restore}
}

// Page is the topic as text for a terminal.
func (t *Topic) Page() string {
	var b strings.Builder
	b.WriteString(strings.ToUpper(t.Name[:1]) + t.Name[1:] + ": " + t.Brief + "\n")
	for i := range t.Blocks {
		b.WriteByte('\n')
		t.Blocks[i].write(&b)
	}
	return b.String()
}

func (k *Block) write(b *strings.Builder) {
	switch {
	case k.Terms != nil:
		writeTerms(b, k.Terms)
	case k.Table != nil:
		b.WriteString(Columns(k.Table))
	case k.Code != "":
		for line := range strings.Lines(k.Code) {
			b.WriteString("    " + line)
		}
	default:
		for _, line := range fill(k.Text, textWidth) {
			b.WriteString(line + "\n")
		}
	}
}

// writeTerms writes terms in a column and their meanings beside it.
func writeTerms(b *strings.Builder, terms [][2]string) {
	width := 0
	for _, t := range terms {
		width = max(width, len(t[0]))
	}
	indent := "  " + strings.Repeat(" ", width) + "  "
	for _, t := range terms {
		b.WriteString("  " + t[0] + strings.Repeat(" ", width-len(t[0])))
		for i, line := range fill(t[1], textWidth-len(indent)) {
			if i == 0 {
				line = "  " + line
			} else {
				line = indent + line
			}
			b.WriteString(line + "\n")
		}
	}
}

// Columns is a table as text: the first column as wide as it must be, the
// others alike, long cells on several lines, an empty line between rows.
func Columns(table [][]string) string {
	first := 0
	for _, row := range table {
		first = max(first, len(row[0]))
	}
	other := (TableWidth-first)/(len(table[0])-1) - 2
	var b strings.Builder
	for i, row := range table {
		if i > 0 {
			b.WriteByte('\n')
		}
		writeRow(&b, row, first, other)
	}
	return b.String()
}

func writeRow(b *strings.Builder, row []string, first, other int) {
	cells := [][]string{{row[0]}}
	height := 1
	for _, c := range row[1:] {
		lines := fill(c, other)
		cells, height = append(cells, lines), max(height, len(lines))
	}
	for y := range height {
		var line string
		for x, c := range cells {
			if x > 0 {
				line += strings.Repeat(" ", first+2+(x-1)*(other+2)-len(line))
			}
			if y < len(c) {
				line += c[y]
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// fill breaks a text into lines of at most width columns.
func fill(text string, width int) (lines []string) {
	var line string
	for w := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(w) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	return append(lines, line)
}

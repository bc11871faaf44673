package config

import "strings"

// Files of others' secrets: what anyone can read is no secret, and what anyone
// can write tells the daemon what to run.
const (
	othersRead  = 0o004
	othersWrite = 0o002
)

// writable refuses a file that everybody can write.
func (r *reader) writable() {
	if r.mode&othersWrite != 0 {
		r.problem(0, "chmod o-w "+r.file+": it tells the daemon what to run", "everybody can write the file (mode %04o)", r.mode.Perm())
	}
}

// inline is called for a secret that stands in the file itself.
func (r *reader) inline(line int, key string) {
	if r.mode&othersRead != 0 {
		r.problem(line, "chmod o-r the file, or use password_file, secret_file or ${NAME}", "%s: a secret in a file that everybody can read (mode %04o)", key, r.mode.Perm())
	}
}

// secretFile reads the secret that the file at path holds: all of it but for
// line ends behind it.
func (r *reader) secretFile(line int, key, path string, c *Config) Secret {
	if path == "" || r.opt.NoSecrets {
		return ""
	}
	b, mode, p := readFile(path, maxSecret)
	s := strings.TrimRight(string(b), "\r\n")
	switch {
	case p != nil:
		r.problem(line, "", "%s: %s: %s", key, path, p.Text)
	case mode&othersRead != 0:
		r.problem(line, "chmod o-r "+path, "%s: %s: everybody can read it (mode %04o)", key, path, mode.Perm())
	case s == "":
		r.problem(line, "", "%s: %s: the file is empty", key, path)
	case strings.ContainsAny(s, "\x00\n"):
		r.problem(line, "it holds the secret and nothing else", "%s: %s: more than one line", key, path)
	default:
		c.addFile(path, b)
		return Secret(s)
	}
	return ""
}

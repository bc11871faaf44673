// Package store keeps what must survive a restart of the daemon in one file:
// operators' overrides, which services are ours, and the last known addresses of
// host names. The file is replaced as a whole, so that a full disk or a crash
// leaves the old one.
package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// version of the format.
const version = 1

// maxFile is more than any State there is.
const maxFile = 64 << 20

// ErrCorrupt: the file is not what was written, and was set aside.
var ErrCorrupt = errors.New("the file is corrupt or unreadable")

// A Store is a file. Path empty: nothing is kept.
type Store struct{ Path string }

// envelope is the file's outer form.
type envelope struct {
	Version int             `json:"version"`
	Sum     string          `json:"sha256"` // of State
	State   json.RawMessage `json:"state"`
}

// Load reads the state into v. That there is no file is no error and leaves v
// as it is. A corrupt or unreadable file is renamed, so that it can be looked at
// and nothing replaces it, and the error is ErrCorrupt.
func (s Store) Load(v any) error {
	if s.Path == "" {
		return nil
	}
	sweep(s.Path)
	b, err := read(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = decode(b, v)
	}
	if err != nil {
		return setAside(s.Path, err)
	}
	return nil
}

// setAside renames a file that is of no use, and that the next one would replace.
func setAside(path string, why error) error {
	aside := path + ".corrupt-" + time.Now().UTC().Format("20060102T150405Z")
	if moved := os.Rename(path, aside); moved != nil {
		return fmt.Errorf("%w: %w; %w", ErrCorrupt, why, moved)
	}
	return fmt.Errorf("%w: %w; it is now %s", ErrCorrupt, why, aside)
}

// read reads a regular file and waits for nothing else.
func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is no state file", path)
	}
	return io.ReadAll(f)
}

func decode(b []byte, v any) error {
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return err
	}
	if e.Version != version {
		return fmt.Errorf("version %d, not %d", e.Version, version)
	}
	if sum(e.State) != e.Sum {
		return errors.New("checksum does not match")
	}
	return json.Unmarshal(e.State, v)
}

// Save replaces the file. It makes the folder when that is missing.
func (s Store) Save(v any) error {
	if s.Path == "" {
		return nil
	}
	state, err := json.Marshal(v)
	if err != nil {
		return err
	}
	b, err := json.Marshal(envelope{version, sum(state), state})
	if err != nil {
		return err
	}
	return replace(s.Path, append(b, '\n'))
}

// replace writes a file as a whole or leaves the old one. It makes the folder when
// that is missing. What is written first is in there, too, and not where the library
// would look for a better place each time: a kill leaves it, and sweep finds it.
func replace(path string, b []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return renameio.WriteFile(path, b, 0o600, renameio.WithTempDir(dir))
}

// sweep removes what a replace of an earlier process left when that was killed.
func sweep(path string) {
	old, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"[0-9]*"))
	for _, name := range old {
		if info, err := os.Lstat(name); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > abandoned {
			_ = os.Remove(name) // it is in nobody's way
		}
	}
}

// abandoned is how old what was written first must be, that nobody can be at it.
const abandoned = time.Hour

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

package healthcheck

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxPEM is how large a file of certificates may be; a system's are 220 KiB.
const maxPEM = 4 << 20

// Authorities reads the certificates to trust from a file.
func Authorities(file string) (*x509.CertPool, error) {
	pem, err := readPEM(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", file)
	}
	return pool, nil
}

// Certificate reads our certificate and its key, which is in the same file when
// key is empty.
func Certificate(cert, key string) (tls.Certificate, error) {
	own, err := readPEM(cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	secret, err := readPEM(cmp.Or(key, cert))
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(own, secret)
}

// readPEM reads a regular file and waits for nothing else: by a FIFO a reload
// would never end, by a device it would take all memory.
func readPEM(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	switch info, err := f.Stat(); {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	case info.Size() > maxPEM:
		return nil, fmt.Errorf("%s is larger than %d MiB", path, maxPEM>>20)
	}
	return io.ReadAll(io.LimitReader(f, maxPEM))
}

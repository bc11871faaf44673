package healthcheck

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"sync"
	"time"
)

// packetTLS stands between the driver, which begins TLS by itself and then reads
// packets where nobody sees them, and the server: TLS with the server is ours, the
// driver speaks TLS with us, through a pipe, and packets are seen on their way.
// Without it a hundred checks of servers that announce 16 MiB each were 3 GB.
type packetTLS struct {
	driver net.Conn // the driver's end of the pipe
	all    sync.WaitGroup
	once   sync.Once
	why    error // it has ended; to be read when the pipe is closed
}

// newPacketTLS takes over a connection to the server, on which TLS has begun.
func newPacketTLS(server net.Conn, seen *packets) (*packetTLS, error) {
	config, err := toDriver()
	if err != nil {
		return nil, ours(err)
	}
	near, far := net.Pipe()
	inside := tls.Server(far, config)
	t := &packetTLS{driver: near}
	end := func(err error) {
		t.once.Do(func() { t.why = err })
		_ = far.Close()
		_ = server.Close()
	}
	t.all.Go(func() { end(carry(server, inside, func([]byte) error { return nil })) })
	t.all.Go(func() { end(carry(inside, server, seen.see)) })
	return t, nil
}

// carry copies until one side ends, or what is seen is an error.
func carry(to io.Writer, from io.Reader, see func([]byte) error) error {
	buf := make([]byte, 4<<10)
	for {
		n, err := from.Read(buf)
		if flood := see(buf[:n]); flood != nil {
			return flood
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// Read is the driver's; its error is the server's.
func (t *packetTLS) Read(b []byte) (int, error) {
	n, err := t.driver.Read(b)
	if err != nil {
		err = t.why
	}
	return n, err
}

// Write is the driver's; its error is the server's.
func (t *packetTLS) Write(b []byte) (int, error) {
	n, err := t.driver.Write(b)
	if err != nil {
		err = t.why
	}
	return n, err
}

// toDriver is how we speak TLS with the driver, inside of this process: with a
// certificate that nobody looks at. Tickets would be written before they are read,
// which a pipe does not take.
var toDriver = sync.OnceValues(func() (*tls.Config, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(100, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}, nil
})

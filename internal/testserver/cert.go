package testserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// An Authority signs certificates for tests. Its own is in File.
type Authority struct {
	File string
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// A Certificate is a pair of files: PEM certificate and key. Both has the two.
type Certificate struct{ CertFile, KeyFile, Both string }

// NewAuthority makes an authority whose files go with the test.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{dir: Dir(t, nil), key: newKey(t)}
	a.cert = &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "goipvs test authority"},
		NotBefore: time.Now().AddDate(-10, 0, 0), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der := sign(t, a.cert, a.cert, a.key, a.key)
	a.File = filepath.Join(a.dir, "ca.pem")
	Write(t, a.File, pemText("CERTIFICATE", der))
	return a
}

// Issue makes a certificate for names and addresses, valid until notAfter; the
// zero time means for a year.
func (a *Authority) Issue(t testing.TB, notAfter time.Time, names ...string) Certificate {
	t.Helper()
	if notAfter.IsZero() {
		notAfter = time.Now().AddDate(1, 0, 0)
	}
	key := newKey(t)
	cert := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: time.Now().AddDate(-5, 0, 0), NotAfter: notAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		KeyUsage:    x509.KeyUsageDigitalSignature,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			cert.IPAddresses = append(cert.IPAddresses, ip)
		} else {
			cert.DNSNames = append(cert.DNSNames, n)
		}
	}
	text := pemText("CERTIFICATE", sign(t, cert, a.cert, key, a.key))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(a.dir, cert.SerialNumber.String())
	c := Certificate{base + ".crt", base + ".key", base + ".pem"}
	Write(t, c.CertFile, text)
	Write(t, c.KeyFile, pemText("PRIVATE KEY", der))
	Write(t, c.Both, text+pemText("PRIVATE KEY", der))
	return c
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func sign(t testing.TB, cert, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// Package pki makes the identities of one test cluster: two certificate authorities, the key pair that signs
// ServiceAccount tokens, client certificates (a user is its common name, a group an organization) and kubeconfigs.
//
// Whoever reads the directory can become anyone in the cluster. That is the point of a test cluster, and the
// reason why none of this belongs near a real one.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// lifetime of every certificate. A cluster lives for minutes; a year spares a demo that was left running.
const lifetime = 365 * 24 * time.Hour

// backdate forgives a clock that was set back a little between making and checking a certificate.
const backdate = time.Hour

// Authority signs certificates.
type Authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
	// PEM is the authority's certificate, for those who trust it.
	PEM []byte
}

// Identity is a certificate and its private key, both in PEM.
type Identity struct{ Certificate, Key []byte }

// Subject says whom a certificate is for. With names or addresses it is a server's, else a client's.
type Subject struct {
	Name      string
	Groups    []string
	DNS       []string
	Addresses []net.IP
}

// NewAuthority makes a self-signed authority. ECDSA P-256: accepted by every component and quick to make.
func NewAuthority(name string) (*Authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(Subject{Name: name})
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{certificate, key, encode("CERTIFICATE", der)}, nil
}

// LoadAuthority reads what Authority.KeyPEM and Authority.PEM were written to.
func LoadAuthority(certificateFile, keyFile string) (*Authority, error) {
	certificatePEM, err := os.ReadFile(certificateFile)
	if err != nil {
		return nil, err
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	certificateBlock, _ := pem.Decode(certificatePEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certificateBlock == nil || keyBlock == nil {
		return nil, fmt.Errorf("%s or %s holds no PEM block", certificateFile, keyFile)
	}
	certificate, err := x509.ParseCertificate(certificateBlock.Bytes)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the authority's key cannot sign")
	}
	return &Authority{certificate, signer, certificatePEM}, nil
}

// KeyPEM is the authority's private key.
func (a *Authority) KeyPEM() ([]byte, error) { return keyPEM(a.key) }

// Issue makes a new key and signs a certificate for it.
func (a *Authority) Issue(subject Subject) (Identity, error) {
	key, err := newKey()
	if err != nil {
		return Identity{}, err
	}
	template, err := newTemplate(subject)
	if err != nil {
		return Identity{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(subject.DNS)+len(subject.Addresses) > 0 {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return Identity{}, err
	}
	private, err := keyPEM(key)
	return Identity{Certificate: encode("CERTIFICATE", der), Key: private}, err
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func newTemplate(subject Subject) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: subject.Name, Organization: subject.Groups},
		DNSNames:     subject.DNS,
		IPAddresses:  subject.Addresses,
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(lifetime),
	}, nil
}

func keyPEM(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return encode("PRIVATE KEY", der), err
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

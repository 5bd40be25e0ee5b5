package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, block []byte) *x509.Certificate {
	t.Helper()
	decoded, _ := pem.Decode(block)
	if decoded == nil {
		t.Fatal("no PEM block")
	}
	certificate, err := x509.ParseCertificate(decoded.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestAClientCertificateNamesUserAndGroups(t *testing.T) {
	authority, err := NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	identity, err := authority.Issue(Subject{Name: "alice", Groups: []string{"cn", "tenants"}})
	if err != nil {
		t.Fatal(err)
	}
	certificate := parse(t, identity.Certificate)
	if certificate.Subject.CommonName != "alice" || strings.Join(certificate.Subject.Organization, ",") != "cn,tenants" {
		t.Error(certificate.Subject)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.PEM)
	for _, at := range []time.Duration{0, 364 * 24 * time.Hour} {
		options := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: time.Now().Add(at)}
		if _, err := certificate.Verify(options); err != nil {
			t.Error(err)
		}
	}
}

func TestTheClusterIsReadBack(t *testing.T) {
	cluster := Cluster{Dir: t.TempDir()}
	if err := cluster.Create("https://127.0.0.1:1", net.IPv4(10, 97, 0, 1)); err != nil {
		t.Fatal(err)
	}
	authority, err := cluster.Authority()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authority.Issue(Subject{Name: "bob"}); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cluster.File("apiserver.crt"), cluster.File("apiserver.key"))
	if err != nil {
		t.Fatal(err)
	}
	serving, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "kubernetes.default.svc", "127.0.0.1", "10.96.0.1", "10.97.0.1", "::1"} {
		if err := serving.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"admin", "controller-manager", "scheduler", "machines", "provisioner"} {
		content, err := os.ReadFile(cluster.File(name + ".kubeconfig"))
		if err != nil || !strings.Contains(string(content), "client-key-data") {
			t.Error(name, err)
		}
	}
}

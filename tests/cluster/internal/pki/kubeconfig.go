package pki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
)

// The kubeconfigs hold their certificates themselves, so that a copy works anywhere.
const kubeconfigFormat = `apiVersion: v1
kind: Config
current-context: testcluster
contexts:
- name: testcluster
  context: {cluster: testcluster, user: %[3]q}
clusters:
- name: testcluster
  cluster:
    server: %[1]q
    certificate-authority-data: %[2]s
users:
- name: %[3]q
  user: %[4]s
`

// ClientKubeconfig is a kubeconfig for a user with a client certificate.
func ClientKubeconfig(server string, authorityPEM []byte, user string, identity Identity) []byte {
	return kubeconfig(server, authorityPEM, user, fmt.Sprintf("{client-certificate-data: %s, client-key-data: %s}",
		base64.StdEncoding.EncodeToString(identity.Certificate), base64.StdEncoding.EncodeToString(identity.Key)))
}

// TokenKubeconfig is a kubeconfig for a user with a bearer token.
func TokenKubeconfig(server string, authorityPEM []byte, user, token string) []byte {
	return kubeconfig(server, authorityPEM, user, fmt.Sprintf("{token: %q}", token))
}

func kubeconfig(server string, authorityPEM []byte, user, credentials string) []byte {
	return fmt.Appendf(nil, kubeconfigFormat, server, base64.StdEncoding.EncodeToString(authorityPEM), user, credentials)
}

func publicPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	return encode("PUBLIC KEY", der), err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	authentication "k8s.io/api/authentication/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"domicile.dev/testcluster/internal/pki"
)

// tokenLifetime of a ServiceAccount's token.
const tokenLifetime = 24 * time.Hour

// userCommand is `testcluster user`: a kubeconfig for anyone.
func userCommand() *cobra.Command {
	var dir, serviceAccount string
	var groups []string
	command := &cobra.Command{
		Use:   "user --dir DIR NAME [--group G]… | --service-account NAMESPACE/NAME",
		Short: "Make a kubeconfig for a user or a ServiceAccount and print its path",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			if (len(args) == 1) == (serviceAccount != "") {
				return errors.New("want either a user's name or --service-account")
			}
			var path string
			var err error
			if serviceAccount != "" {
				path, err = tokenUser(command.Context(), dir, serviceAccount)
			} else {
				path, err = certificateUser(dir, pki.Subject{Name: args[0], Groups: groups})
			}
			if err != nil {
				return err
			}
			fmt.Println(path)
			return nil
		},
	}
	dirFlag(command, &dir)
	command.Flags().StringArrayVar(&groups, "group", nil, "group of the user; repeatable")
	command.Flags().StringVar(&serviceAccount, "service-account", "", "an existing ServiceAccount; its token lasts 24 hours")
	return command
}

func certificateUser(dir string, subject pki.Subject) (string, error) {
	dir, server, err := locate(dir)
	if err != nil {
		return "", err
	}
	authority, err := pki.Cluster{Dir: filepath.Join(dir, "pki")}.Authority()
	if err != nil {
		return "", err
	}
	identity, err := authority.Issue(subject)
	if err != nil {
		return "", err
	}
	return save(dir, subject.Name, pki.ClientKubeconfig(server.Host, authority.PEM, subject.Name, identity))
}

func tokenUser(ctx context.Context, dir, serviceAccount string) (string, error) {
	namespace, name, ok := strings.Cut(serviceAccount, "/")
	if !ok {
		return "", fmt.Errorf("%q is not NAMESPACE/NAME", serviceAccount)
	}
	dir, server, err := locate(dir)
	if err != nil {
		return "", err
	}
	client, err := kubernetes.NewForConfig(server)
	if err != nil {
		return "", err
	}
	seconds := int64(tokenLifetime / time.Second)
	request := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: &seconds}}
	token, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, meta.CreateOptions{})
	if err != nil {
		return "", err
	}
	user := "system:serviceaccount:" + namespace + ":" + name
	return save(dir, user, pki.TokenKubeconfig(server.Host, server.CAData, user, token.Status.Token))
}

// locate finds the cluster in dir by its admin kubeconfig.
func locate(dir string) (string, *rest.Config, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, "pki", "admin.kubeconfig"))
	return dir, config, err
}

// save keeps the kubeconfig apart from the cluster's own secrets.
func save(dir, user string, kubeconfig []byte) (string, error) {
	name := strings.NewReplacer("/", "_", ":", "_").Replace(user)
	path := filepath.Join(dir, "users", name+".kubeconfig")
	return path, os.WriteFile(path, kubeconfig, 0o600)
}

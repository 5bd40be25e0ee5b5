package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// check says whether a component does its work.
type check func(context.Context) error

// reachable wants a GET to be answered with 200.
func reachable(client *http.Client, url string) check { return answers(client, url, "") }

// answers wants 200 and a text in the answer.
func answers(client *http.Client, url, text string) check {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10))
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s: %s", url, response.Status, strings.TrimSpace(string(body)))
		}
		if !strings.Contains(string(body), text) {
			return fmt.Errorf("%s does not speak of %s yet", url, text)
		}
		return nil
	}
}

// both wants two checks to pass.
func both(first, second check) check {
	return func(ctx context.Context) error {
		if err := first(ctx); err != nil {
			return err
		}
		return second(ctx)
	}
}

// adminConfig speaks to the API server as admin.
func adminConfig(dir *Directory) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", dir.Kubeconfig("admin"))
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return config, nil
}

// adminHTTP asks components for their health as admin. It takes any serving certificate: those of the controller
// manager and the scheduler are self-signed, and all addresses are our own.
func adminHTTP(dir *Directory) (*http.Client, error) {
	config, err := adminConfig(dir)
	if err != nil {
		return nil, err
	}
	config.Insecure, config.CAData = true, nil
	config.Timeout = 5 * time.Second
	return rest.HTTPClientFor(config)
}

// Package drivers is the list of CSI drivers that the test cluster pretends to have. The provisioner makes their
// volumes; each simulated node registers them, and carries their topology labels, as a kubelet does.
package drivers

import (
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

// Driver is a CSI driver and the node labels by which it says where a volume can be reached.
type Driver struct {
	Name         string   `json:"name"`
	TopologyKeys []string `json:"topologyKeys"`
}

// Default are one driver with a topology key of its own, one real driver with the well-known key, and a plain one.
func Default() []Driver {
	return []Driver{
		{"diskplugin.csi.alibabacloud.com", []string{"topology.diskplugin.csi.alibabacloud.com/zone"}},
		{"ebs.csi.aws.com", []string{"topology.kubernetes.io/zone"}},
		{"csi.testcluster.dev", []string{"topology.kubernetes.io/zone"}},
	}
}

// Label is the value that a topology key has on a node: its region for a key that ends so, else its zone.
func Label(key, region, zone string) string {
	if strings.HasSuffix(key, "/region") {
		return region
	}
	return zone
}

// Parse reads "name=key[,key…]", which String writes.
func Parse(text string) (Driver, error) {
	name, keys, ok := strings.Cut(text, "=")
	if !ok || name == "" || keys == "" {
		return Driver{}, fmt.Errorf("CSI driver %q is not NAME=TOPOLOGYKEY[,TOPOLOGYKEY]", text)
	}
	return Driver{name, strings.Split(keys, ",")}, nil
}

func (d Driver) String() string { return d.Name + "=" + strings.Join(d.TopologyKeys, ",") }

// ParseAll reads several.
func ParseAll(texts []string) ([]Driver, error) {
	var list []Driver
	for _, text := range texts {
		driver, err := Parse(text)
		if err != nil {
			return nil, err
		}
		list = append(list, driver)
	}
	return list, nil
}

// Load reads a YAML list of drivers.
func Load(path string) ([]Driver, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []Driver
	if err := yaml.UnmarshalStrict(content, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, driver := range list {
		if driver.Name == "" || len(driver.TopologyKeys) == 0 {
			return nil, fmt.Errorf("%s: a CSI driver needs a name and topologyKeys", path)
		}
	}
	return list, nil
}

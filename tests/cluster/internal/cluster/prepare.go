package cluster

import (
	"context"

	rbac "k8s.io/api/rbac/v1"
	storage "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"domicile.dev/testcluster/internal/pki"
)

const auditPolicyName = "audit-policy.yaml"

// auditPolicy: one line for each request, with user, verb, object and URI (dryRun=All shows there), without bodies.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// prepare makes what nodes and the provisioner find in a real cluster: their roles and the drivers' objects.
func prepare(ctx context.Context, options Options, dir *Directory) error {
	if options.Nodes == "" {
		return nil
	}
	config, err := adminConfig(dir)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	for name, grant := range map[string]struct {
		user  string
		rules []rbac.PolicyRule
	}{
		"testcluster:machines":        {pki.MachinesUser, machinesRules()},
		"external-provisioner-runner": {pki.ProvisionerUser, provisionerRules()},
	} {
		role := &rbac.ClusterRole{ObjectMeta: meta.ObjectMeta{Name: name}, Rules: grant.rules}
		if _, err := client.RbacV1().ClusterRoles().Create(ctx, role, meta.CreateOptions{}); err != nil {
			return err
		}
		binding := &rbac.ClusterRoleBinding{
			ObjectMeta: meta.ObjectMeta{Name: name},
			RoleRef:    rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: name},
			Subjects:   []rbac.Subject{{APIGroup: rbac.GroupName, Kind: rbac.UserKind, Name: grant.user}},
		}
		if _, err := client.RbacV1().ClusterRoleBindings().Create(ctx, binding, meta.CreateOptions{}); err != nil {
			return err
		}
	}
	for _, driver := range options.Drivers {
		// Nothing attaches volumes here, and no pod may wait for it.
		attach := false
		object := &storage.CSIDriver{ObjectMeta: meta.ObjectMeta{Name: driver.Name}, Spec: storage.CSIDriverSpec{AttachRequired: &attach}}
		if _, err := client.StorageV1().CSIDrivers().Create(ctx, object, meta.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

func rule(group string, resources []string, verbs ...string) rbac.PolicyRule {
	return rbac.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
}

// machinesRules: one reader for all simulated kubelets, which also gives nodes their pod networks and deletes nodes that are gone.
func machinesRules() []rbac.PolicyRule {
	return []rbac.PolicyRule{
		rule("", []string{"nodes", "pods", "persistentvolumeclaims", "persistentvolumes"}, "get", "list", "watch"),
		rule("", []string{"nodes"}, "patch", "delete"),
	}
}

// provisionerRules are those of kubernetes-csi/external-provisioner (deploy/kubernetes/rbac.yaml), without snapshots.
func provisionerRules() []rbac.PolicyRule {
	return []rbac.PolicyRule{
		rule("", []string{"persistentvolumes"}, "get", "list", "watch", "create", "patch", "delete"),
		rule("", []string{"persistentvolumeclaims"}, "get", "list", "watch", "update"),
		rule("", []string{"events"}, "list", "watch", "create", "update", "patch"),
		rule("", []string{"nodes"}, "get", "list", "watch"),
		rule(storage.GroupName, []string{"storageclasses", "csinodes", "volumeattachments"}, "get", "list", "watch"),
	}
}

// Package cluster brings a real control plane up as processes of this binary, watches over it, and takes it down.
// It knows flags, order and health; what the components do is theirs. It must never leave a process behind.
package cluster

import (
	"time"

	"domicile.dev/testcluster/internal/drivers"
)

// Options of `testcluster up`.
type Options struct {
	// Dir keeps the state; empty for a temporary directory. It is removed at the end, or emptied if it existed.
	Dir string
	// Keep leaves the directory for a look at logs and state.
	Keep bool
	// Nodes is the file of the simulated nodes; empty for none, and then there is no provisioner either.
	Nodes string
	// Drivers are the CSI drivers whose volumes the provisioner makes.
	Drivers []drivers.Driver
	// Heartbeat is how often a simulated node renews its lease.
	Heartbeat time.Duration
	// AuditLog writes audit.log in the directory.
	AuditLog bool
	// Extra flags by component name; a repeated flag's last value wins, so these override.
	Extra map[string][]string
}

// patience bounds the start of one component. It takes seconds; a machine that builds something else needs more.
const patience = 2 * time.Minute

// grace is what a component gets to end by itself when it is stopped on purpose. The API server drains for 8 s or more.
const grace = 10 * time.Second

// tailLines of a log are shown when a component fails.
const tailLines = 20

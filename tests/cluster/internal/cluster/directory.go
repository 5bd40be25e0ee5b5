package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"domicile.dev/testcluster/internal/pki"
)

// Directory is where one cluster keeps everything:
//
//	lock  control.sock  admin.kubeconfig -> pki/…  pki/  users/  logs/  etcd/  csi.yaml  audit.log
type Directory struct {
	Path string
	// existed: the caller made it, so it is emptied at the end and not removed.
	existed bool
	lock    *os.File
}

const (
	lockName      = "lock"
	temporaryName = "testcluster-"
)

// madeHere is the lock's content when the cluster made the directory, too.
const madeHere = "made with the cluster\n"

// claimDirectory makes path (or a temporary directory) this cluster's. What a killed cluster left there is removed;
// a directory with a running cluster or with anything else in it is refused.
func claimDirectory(path string) (*Directory, error) {
	d := &Directory{Path: path}
	if path == "" {
		sweep()
		made, err := os.MkdirTemp("", temporaryName)
		if err != nil {
			return nil, err
		}
		d.Path = made
	} else {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		d.Path = absolute
	}
	entries, err := os.ReadDir(d.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if err := os.MkdirAll(d.Path, 0o700); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	default:
		d.existed = path != ""
		left, err := os.ReadFile(d.File(lockName))
		if err != nil && len(entries) > 0 {
			return nil, fmt.Errorf("%s is not empty and no cluster made it", d.Path)
		}
		// A killed cluster that had made the directory leaves it to the next one.
		d.existed = d.existed && string(left) != madeHere
	}
	return d, d.take()
}

func (d *Directory) take() error {
	// The kernel gives the lock back when its holder dies, so it never lies about a killed cluster.
	lock, err := os.OpenFile(d.File(lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return fmt.Errorf("a cluster is running in %s", d.Path)
	}
	d.lock = lock
	if !d.existed {
		if _, err := lock.WriteAt([]byte(madeHere), 0); err != nil {
			return err
		}
	}
	return d.clear()
}

// clear empties the directory but for the lock, and makes the directories that must be there.
func (d *Directory) clear() error {
	entries, err := os.ReadDir(d.Path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == lockName {
			continue
		}
		if err := os.RemoveAll(d.File(entry.Name())); err != nil {
			return err
		}
	}
	for _, name := range []string{"logs", "users"} {
		if err := os.Mkdir(d.File(name), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// keep leaves everything but the lock: what is kept is nobody's to remove.
func (d *Directory) keep() {
	_ = os.Remove(d.File(lockName))
	_ = d.lock.Close()
}

// release removes everything and gives the directory back as it was found.
func (d *Directory) release() {
	_ = d.clear()
	for _, name := range []string{"logs", "users", lockName} {
		_ = os.RemoveAll(d.File(name))
	}
	if !d.existed {
		_ = os.Remove(d.Path)
	}
	_ = d.lock.Close()
}

// File is the path of a file in the directory.
func (d *Directory) File(name string) string { return filepath.Join(d.Path, name) }

// PKI is the directory of secrets.
func (d *Directory) PKI() pki.Cluster { return pki.Cluster{Dir: d.File("pki")} }

// Kubeconfig is the path of a component's kubeconfig.
func (d *Directory) Kubeconfig(name string) string { return d.PKI().File(name + ".kubeconfig") }

// Log is the path of a component's log.
func (d *Directory) Log(component string) string { return d.File("logs/" + component + ".log") }

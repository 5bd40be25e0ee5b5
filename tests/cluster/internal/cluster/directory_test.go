package cluster

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func claim(t *testing.T, path string) *Directory {
	t.Helper()
	d, err := claimDirectory(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// kill lets go of the lock and leaves the rest, as the kernel does for a killed cluster.
func kill(d *Directory) { d.lock.Close() }

func TestADirectoryIsGivenBackAsItWas(t *testing.T) {
	mine, given := filepath.Join(t.TempDir(), "a", "b"), t.TempDir()
	claim(t, mine).release()
	claim(t, given).release()
	if entries, err := os.ReadDir(given); exists(mine) || err != nil || len(entries) > 0 {
		t.Error(exists(mine), entries, err)
	}
}

func TestADirectoryHasOneCluster(t *testing.T) {
	path := t.TempDir()
	d := claim(t, path)
	defer d.release()
	if _, err := claimDirectory(path); err == nil {
		t.Error("two clusters in one directory")
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := claimDirectory(foreign); err == nil {
		t.Error("a directory with something else in it was taken")
	}
}

func TestWhatAKilledClusterLeftIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	dead := claim(t, path)
	if err := os.WriteFile(dead.File("audit.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kill(dead)
	next := claim(t, path)
	if exists(next.File("audit.log")) {
		t.Error("old state in a new cluster")
	}
	next.release()
	if exists(path) {
		t.Error("the directory was made by a cluster and stays")
	}
}

func TestTemporaryDirectoriesOfTheDeadAreSwept(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dead, living, kept, young := claim(t, ""), claim(t, ""), claim(t, ""), claim(t, "")
	defer living.release()
	kill(dead)
	kept.keep()
	kill(young)
	old := time.Now().Add(-2 * sweepAfter)
	for _, d := range []*Directory{dead, living} {
		if err := os.Chtimes(d.File(lockName), old, old); err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	if exists(dead.Path) || !exists(living.Path) || !exists(kept.Path) || !exists(young.Path) {
		t.Error(exists(dead.Path), exists(living.Path), exists(kept.Path), exists(young.Path))
	}
}

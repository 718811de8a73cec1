// Package sanity runs the tests of the CSI specification against the driver in the cluster, with the settings of the
// driver's own test/sanity, which runs them against a driver without a cluster and without providers.
package sanity

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kubernetes-csi/csi-test/v4/pkg/sanity"
)

func TestSanity(t *testing.T) {
	folder := os.Getenv("SANITY_FOLDER")
	config := sanity.NewTestConfig()
	config.Address = os.Getenv("CSI_ENDPOINT")
	config.TargetPath = filepath.Join(folder, "target")
	config.StagingPath = filepath.Join(folder, "staging")
	config.CreateTargetDir = func(path string) (string, error) { return path, os.MkdirAll(path, 0o755) }
	config.RemoveTargetPath = os.RemoveAll
	// Tests of idempotency need a controller service, which the driver does not have.
	config.IdempotentCount = 0
	sanity.Test(t, config)
}

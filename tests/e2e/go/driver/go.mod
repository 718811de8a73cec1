// The Secrets Store CSI Driver, and the tests of the CSI specification for it.
module provider-azure-rs/e2e/driver

go 1.25.9

require (
	github.com/kubernetes-csi/csi-test/v4 v4.3.0
	sigs.k8s.io/secrets-store-csi-driver v1.6.0
)

require monis.app/mlog v0.0.2 // indirect

// Newer than the tests ask for: this one has left its RPC types to a module of their own.
require google.golang.org/genproto v0.0.0-20251202230838-ff82c1b0f217 // indirect

// The public module proxy does not have the driver's logging library.
replace monis.app/mlog => ./mlog

// The tests of the CSI specification, of the version that every driver of ours uses.
module provider-azure-rs/e2e/sanity

go 1.25.9

require github.com/kubernetes-csi/csi-test/v4 v4.3.0

// Newer than the tests ask for: the RPC types are in a module of their own now, and the log's interface has changed.
require (
	google.golang.org/genproto v0.0.0-20251202230838-ff82c1b0f217 // indirect
	k8s.io/klog/v2 v2.120.1 // indirect
)

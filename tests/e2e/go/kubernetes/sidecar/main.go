// Sidecar stands in for the two containers that the driver's chart puts beside the driver, with their flags:
// node-driver-registrar, which tells the kubelet of the driver's socket, and livenessprobe, which asks the driver
// whether it is well. (The public module proxy has neither of them.)
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	csi "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

var (
	csiAddress   = flag.String("csi-address", "/csi/csi.sock", "the driver's socket, as this container sees it")
	kubeletPath  = flag.String("kubelet-registration-path", "", "the driver's socket, as the kubelet sees it")
	httpEndpoint = flag.String("http-endpoint", "", "where /healthz is served")
	probeTimeout = flag.Duration("probe-timeout", 3*time.Second, "most time for an answer of the driver")
	mode         = flag.String("mode", "", "kubelet-registration-probe only says whether the kubelet knows the driver")
	_            = flag.Int("v", 0, "accepted, as klog's")
)

// Where the registrar notes that the kubelet knows the driver.
const registered = "/tmp/registered"

func main() {
	flag.Parse()
	if *mode == "kubelet-registration-probe" {
		if _, err := os.Stat(registered); err != nil {
			log.Fatal(err)
		}
		return
	}
	connection, err := grpc.NewClient("unix://"+*csiAddress, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	driver := csi.NewIdentityClient(connection)
	if *kubeletPath != "" {
		log.Fatal(register(driver))
	}
	log.Fatal(http.ListenAndServe(*httpEndpoint, health(driver)))
}

func register(driver csi.IdentityClient) error {
	info, err := driver.GetPluginInfo(context.Background(), &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	socket := "/registration/" + info.Name + "-reg.sock"
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	registration.RegisterRegistrationServer(server, registrar{name: info.Name})
	return server.Serve(listener)
}

type registrar struct {
	registration.UnimplementedRegistrationServer
	name string
}

func (r registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              r.name,
		Endpoint:          *kubeletPath,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (r registrar) NotifyRegistrationStatus(
	_ context.Context, status *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	if !status.PluginRegistered {
		log.Fatalf("the kubelet refuses %s: %s", r.name, status.Error)
	}
	log.Printf("the kubelet knows %s", r.name)
	return &registration.RegistrationStatusResponse{}, os.WriteFile(registered, nil, 0o644)
}

func health(driver csi.IdentityClient) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), *probeTimeout)
		defer cancel()
		if _, err := driver.Probe(ctx, &csi.ProbeRequest{}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}

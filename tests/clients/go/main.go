// Calls a provider's socket as a Go program does:
//
//	client CASES SOCKET...
//
// The same source is built with the grpc-go of the driver up to 1.5.x and with that of the driver 1.6 (driver-1.5.mod,
// driver-1.6.mod), which name the server differently. CASES is what cases.py writes.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"sigs.k8s.io/secrets-store-csi-driver/provider/v1alpha1"
)

// cases is what all clients ask for, and what must come of it.
type cases struct {
	Rounds int         `json:"rounds"`
	Mounts []mountCase `json:"mounts"`
}

type mountCase struct {
	Attributes string            `json:"attributes"`
	Secrets    string            `json:"secrets"`
	Permission string            `json:"permission"`
	Files      map[string]string `json:"files"`
	// Where no file comes of it: the name of the gRPC code, and how the message begins.
	Code    string `json:"code"`
	Message string `json:"message"`
}

// spelling is a way to name the same socket to grpc-go; each makes another :authority of it.
type spelling struct {
	name    string
	target  func(socket string) string
	options []grpc.DialOption
}

var spellings = []spelling{
	// The driver's own, pkg/secrets-store/provider_client.go: the path is the target, and the dialer's address.
	{"the path and a dialer", func(socket string) string { return socket }, []grpc.DialOption{dialer}},
	{"unix://", func(socket string) string { return "unix://" + socket }, nil},
	{"passthrough:///unix://", func(socket string) string { return "passthrough:///unix://" + socket }, nil},
}

var dialer = grpc.WithContextDialer(func(ctx context.Context, target string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", target)
})

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: client CASES SOCKET...")
		os.Exit(2)
	}
	text, err := os.ReadFile(os.Args[1])
	var all cases
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	failed := false
	for _, socket := range os.Args[2:] {
		for _, spelling := range spellings {
			name := fmt.Sprintf("grpc-go %s, %s, %q", grpc.Version, spelling.name, socket)
			if err := check(all, socket, spelling); err != nil {
				failed = true
				fmt.Printf("FAILED %s: %v\n", name, err)
			} else {
				fmt.Printf("ok     %s\n", name)
			}
		}
	}
	if failed {
		os.Exit(1)
	}
}

// check makes all calls on one connection, the mounts of a round at once: from the second request on, the header
// fields are those of the first one, and come from the dynamic table.
func check(all cases, socket string, spelling spelling) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	options := append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, spelling.options...)
	connection, err := grpc.Dial(spelling.target(socket), options...)
	if err != nil {
		return err
	}
	defer connection.Close()

	provider := v1alpha1.NewCSIDriverProviderClient(connection)
	version, err := provider.Version(ctx, &v1alpha1.VersionRequest{Version: "v1alpha1"})
	if err != nil {
		return fmt.Errorf("Version: %w", err)
	}
	if version.GetRuntimeName() != "provider-azure-rs" || version.GetVersion() != "v1alpha1" {
		return fmt.Errorf("Version: %v", version)
	}
	health, err := healthpb.NewHealthClient(connection).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return fmt.Errorf("Check: %w", err)
	}
	if health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("Check: %v", health)
	}

	for round := range all.Rounds {
		failures := make([]error, len(all.Mounts))
		var running sync.WaitGroup
		for index, mount := range all.Mounts {
			running.Add(1)
			go func() {
				defer running.Done()
				failures[index] = mount.check(ctx, provider)
			}()
		}
		running.Wait()
		for index, err := range failures {
			if err != nil {
				return fmt.Errorf("Mount %d of round %d: %w", index, round, err)
			}
		}
	}
	return nil
}

func (mount mountCase) check(ctx context.Context, provider v1alpha1.CSIDriverProviderClient) error {
	answer, err := provider.Mount(ctx, &v1alpha1.MountRequest{
		Attributes: mount.Attributes,
		Secrets:    mount.Secrets,
		Permission: mount.Permission,
		TargetPath: "/var/lib/kubelet/pods/0b1c2d3e/volumes/kubernetes.io~csi/secrets/mount",
	})
	if mount.Code != "" {
		var wanted codes.Code
		if err := json.Unmarshal([]byte(`"`+mount.Code+`"`), &wanted); err != nil {
			return err
		}
		if status.Code(err) != wanted || !bytes.HasPrefix([]byte(status.Convert(err).Message()), []byte(mount.Message)) {
			return fmt.Errorf("expected %s %q, got %v", mount.Code, mount.Message, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if len(answer.GetFiles()) != len(mount.Files) || len(answer.GetObjectVersion()) == 0 {
		return fmt.Errorf("%d files, %d versions", len(answer.GetFiles()), len(answer.GetObjectVersion()))
	}
	for _, file := range answer.GetFiles() {
		if contents, known := mount.Files[file.GetPath()]; !known || contents != string(file.GetContents()) {
			return fmt.Errorf("%q is not what the vault has", file.GetPath())
		}
	}
	return nil
}

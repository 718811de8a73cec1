// Judges pods by the SecurityContextConstraints beside them, with the code that OpenShift admits pods by. Reads manifests
// from standard input, and prints a line for each reason against the pod of a DaemonSet:
//
//	DaemonSet/NAME, SCC NAME: REASON
//
// It also fails where a SecurityContextConstraints object has fields that there are not, lacks one that is required, or is
// not there at all.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	securityv1 "github.com/openshift/api/security/v1"
	"github.com/openshift/apiserver-library-go/pkg/securitycontextconstraints/sccmatching"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kubernetes/pkg/apis/core"
	corev1conversion "k8s.io/kubernetes/pkg/apis/core/v1"
	strict "sigs.k8s.io/yaml"
)

// The namespace that pods are admitted to, with what OpenShift writes on each.
var namespace = corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "csi", Annotations: map[string]string{
	securityv1.UIDRangeAnnotation:           "1000680000/10000",
	securityv1.MCSAnnotation:                "s0:c26,c15",
	securityv1.SupplementalGroupsAnnotation: "1000680000/10000",
}}}

func main() {
	if err := run(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(manifests io.Reader) error {
	var constraints []securityv1.SecurityContextConstraints
	var daemonSets []appsv1.DaemonSet
	decoder := yaml.NewYAMLOrJSONDecoder(manifests, 4096)
	for {
		var object any
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		text, err := strict.Marshal(object)
		if err != nil {
			return err
		}
		var kind metav1.TypeMeta
		if err := strict.Unmarshal(text, &kind); err != nil {
			return err
		}
		switch kind.Kind {
		case "SecurityContextConstraints":
			var found securityv1.SecurityContextConstraints
			if err := strict.UnmarshalStrict(text, &found); err != nil {
				return err
			}
			if err := complete(object, found); err != nil {
				return err
			}
			constraints = append(constraints, found)
		case "DaemonSet":
			var found appsv1.DaemonSet
			if err := strict.UnmarshalStrict(text, &found); err != nil {
				return err
			}
			daemonSets = append(daemonSets, found)
		}
	}
	if len(constraints) == 0 || len(daemonSets) == 0 {
		return errors.New("no SecurityContextConstraints or no DaemonSet")
	}
	for _, scc := range constraints {
		for _, daemonSet := range daemonSets {
			reasons, err := against(&daemonSet.Spec.Template, &scc)
			if err != nil {
				return err
			}
			for _, reason := range reasons {
				fmt.Printf("DaemonSet/%s, SCC %s: %v\n", daemonSet.Name, scc.Name, reason)
			}
		}
	}
	return nil
}

// complete says which field is missing that OpenShift's schema requires: those that its type never leaves out.
func complete(object any, typed securityv1.SecurityContextConstraints) error {
	fields, _ := object.(map[string]any)
	for _, part := range reflect.VisibleFields(reflect.TypeOf(typed)) {
		name, options, _ := strings.Cut(part.Tag.Get("json"), ",")
		if name == "" || options != "" || len(part.Index) > 1 {
			continue
		}
		if _, there := fields[name]; !there {
			return fmt.Errorf("SecurityContextConstraints/%s: there is no %s", typed.Name, name)
		}
	}
	return nil
}

// against says what this pod has against these constraints.
func against(template *corev1.PodTemplateSpec, scc *securityv1.SecurityContextConstraints) (field.ErrorList, error) {
	provider, err := sccmatching.CreateProviderFromConstraint(&namespace, scc)
	if err != nil {
		return nil, err
	}
	pod := core.Pod{ObjectMeta: template.ObjectMeta}
	if err := corev1conversion.Convert_v1_PodSpec_To_core_PodSpec(&template.Spec, &pod.Spec, nil); err != nil {
		return nil, err
	}
	return sccmatching.AssignSecurityContext(provider, &pod, field.NewPath("spec")), nil
}

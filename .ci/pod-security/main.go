// Judges pods by the Pod Security Standards, with the code that Kubernetes judges them by. Reads manifests from standard
// input, and prints a line for each pod or pod template and what it has against the profile "restricted":
//
//	DaemonSet/NAME: REASON
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	strict "sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(manifests io.Reader) error {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		return err
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	decoder := yaml.NewYAMLOrJSONDecoder(manifests, 4096)
	for {
		var object struct {
			metav1.TypeMeta   `json:",inline"`
			metav1.ObjectMeta `json:"metadata"`
			Spec              any `json:"spec"`
		}
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		text, err := strict.Marshal(object.Spec)
		if err != nil {
			return err
		}
		var template corev1.PodTemplateSpec
		switch object.Kind {
		case "Pod":
			template.ObjectMeta = object.ObjectMeta
			err = strict.UnmarshalStrict(text, &template.Spec)
		case "DaemonSet":
			var spec appsv1.DaemonSetSpec
			err = strict.UnmarshalStrict(text, &spec)
			template = spec.Template
		default:
			continue
		}
		if err != nil {
			return fmt.Errorf("%s/%s: %w", object.Kind, object.Name, err)
		}
		for _, result := range evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec) {
			if !result.Allowed {
				fmt.Printf("%s/%s: %s\n", object.Kind, object.Name, result.ForbiddenReason)
			}
		}
	}
}

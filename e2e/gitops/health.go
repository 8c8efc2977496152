package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	argohealth "github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	argo "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/runtime/cel"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const healthKey = "resource.customizations.health."

type healthQuestion struct {
	// The ConfigMap argocd-cm.
	ConfigMap corev1.ConfigMap
	// Whose healthCheckExprs hold.
	Kustomization json.RawMessage
	Objects       map[string]*unstructured.Unstructured
}

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type verdicts struct {
	ArgoCD verdict `json:"argocd"`
	Flux   verdict `json:"flux"`
}

func health(ctx context.Context, question healthQuestion) (map[string]verdicts, error) {
	kustomization, err := strict[kustomizev1.Kustomization](question.Kustomization)
	if err != nil {
		return nil, err
	}
	overrides := healthOverrides(question.ConfigMap)
	found := map[string]verdicts{}
	for name, object := range question.Objects {
		of := verdicts{}
		if of.ArgoCD, err = argoHealth(object, overrides); err != nil {
			return nil, fmt.Errorf("%s: Argo CD: %w", name, err)
		}
		if of.Flux, err = fluxHealth(ctx, object, kustomization); err != nil {
			return nil, fmt.Errorf("%s: Flux: %w", name, err)
		}
		found[name] = of
	}
	return found, nil
}

// healthOverrides reads the keys of argocd-cm that say how healthy a kind is.
func healthOverrides(configMap corev1.ConfigMap) lua.ResourceHealthOverrides {
	overrides := lua.ResourceHealthOverrides{}
	for key, script := range configMap.Data {
		if kind, found := strings.CutPrefix(key, healthKey); found {
			overrides[strings.Replace(kind, "_", "/", 1)] = argo.ResourceOverride{HealthLua: script}
		}
	}
	return overrides
}

func argoHealth(object *unstructured.Unstructured, overrides lua.ResourceHealthOverrides) (verdict, error) {
	found, err := argohealth.GetResourceHealth(object, overrides)
	if err != nil || found == nil {
		return verdict{}, err
	}
	return verdict{Status: string(found.Status), Message: found.Message}, nil
}

// fluxHealth is what Flux reads: by expressions where the Kustomization has some for the kind, else by kstatus.
func fluxHealth(ctx context.Context, object *unstructured.Unstructured, kustomization *kustomizev1.Kustomization) (verdict, error) {
	expressions, err := cel.NewStatusReader(kustomization.Spec.HealthCheckExprs)
	if err != nil {
		return verdict{}, err
	}
	if reader := expressions(nil); reader.Supports(object.GroupVersionKind().GroupKind()) {
		found, err := reader.ReadStatusForObject(ctx, nil, object)
		if err != nil {
			return verdict{}, err
		}
		return verdict{Status: string(found.Status), Message: found.Message}, nil
	}
	found, err := status.Compute(object)
	if err != nil {
		return verdict{}, err
	}
	return verdict{Status: string(found.Status), Message: found.Message}, nil
}

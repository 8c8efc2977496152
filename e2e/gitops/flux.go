package main

import (
	"context"
	"encoding/json"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/jsondiff"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The field manager that Flux applies Kustomizations as.
const fluxManager = "kustomize-controller"

type fluxQuestion struct {
	Kustomization json.RawMessage
	Objects       []*unstructured.Unstructured
}

// fluxSync says of each object whether it was created, configured or unchanged.
func fluxSync(ctx context.Context, kubeconfig string, question fluxQuestion) (map[string]string, error) {
	kustomization, err := strict[kustomizev1.Kustomization](question.Kustomization)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	writer, err := client.New(config, client.Options{})
	if err != nil {
		return nil, err
	}
	manager := ssa.NewResourceManager(writer, nil, ssa.Owner{Field: fluxManager, Group: kustomizev1.GroupVersion.Group})
	manager.SetOwnerLabels(question.Objects, kustomization.Name, kustomization.Namespace)
	options := ssa.DefaultApplyOptions()
	options.DriftIgnoreRules = ignored(kustomization)
	changes, err := manager.ApplyAll(ctx, question.Objects, options)
	if err != nil {
		return nil, err
	}
	done := map[string]string{}
	for _, change := range changes.Entries {
		done[change.Subject] = string(change.Action)
	}
	return done, nil
}

func ignored(kustomization *kustomizev1.Kustomization) []jsondiff.IgnoreRule {
	var rules []jsondiff.IgnoreRule
	for _, rule := range kustomization.Spec.Ignore {
		ignore := jsondiff.IgnoreRule{Paths: rule.Paths}
		if target := rule.Target; target != nil {
			ignore.Selector = &jsondiff.Selector{
				Group: target.Group, Version: target.Version, Kind: target.Kind, Name: target.Name, Namespace: target.Namespace,
				LabelSelector: target.LabelSelector, AnnotationSelector: target.AnnotationSelector,
			}
		}
		rules = append(rules, ignore)
	}
	return rules
}

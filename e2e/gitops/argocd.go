package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/tracing"
	argo "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/argo/normalizers"
	jsonpatch "github.com/evanphx/json-patch"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	respect    = "RespectIgnoreDifferences=true"
	serverSide = "ServerSideApply=true"
	// The field manager that Argo CD applies as on the server's side.
	argoManager = "argocd-controller"
)

type syncQuestion struct {
	Application json.RawMessage
	// What is in the cluster, and what is in Git.
	Live, Git *unstructured.Unstructured
}

type syncAnswer struct {
	// Whether Argo CD calls the object OutOfSync.
	OutOfSync bool `json:"outOfSync"`
	// What a sync applies.
	Target *unstructured.Unstructured `json:"target"`
}

func argoSync(kubeconfig string, question syncQuestion) (*syncAnswer, error) {
	application, err := strict[argo.Application](question.Application)
	if err != nil {
		return nil, err
	}
	ignore, err := normalizers.NewIgnoreNormalizer(application.Spec.IgnoreDifferences, nil, normalizers.IgnoreNormalizerOpts{})
	if err != nil {
		return nil, err
	}
	has := func(option string) bool {
		policy := application.Spec.SyncPolicy
		return policy != nil && slices.Contains([]string(policy.SyncOptions), option)
	}
	comparison := []diff.Option{diff.WithNormalizer(ignore)}
	if has(serverSide) {
		structured, err := structuredMerge(kubeconfig)
		if err != nil {
			return nil, err
		}
		comparison = append(comparison, structured...)
	}
	differs, err := diff.Diff(question.Git, question.Live, comparison...)
	if err != nil {
		return nil, err
	}
	target := question.Git
	if has(respect) {
		if target, err = respecting(ignore, question.Live, question.Git); err != nil {
			return nil, err
		}
	}
	return &syncAnswer{OutOfSync: differs.Modified, Target: target}, nil
}

// structuredMerge is how Argo CD compares what it applies on the server's side: by the cluster's schemas and field managers.
func structuredMerge(kubeconfig string) ([]diff.Option, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	_, parser, err := (&kube.KubectlCmd{Log: logr.Discard(), Tracer: tracing.NopTracer{}}).LoadOpenAPISchema(config)
	if err != nil {
		return nil, err
	}
	return []diff.Option{
		diff.WithStructuredMergeDiff(true), diff.WithGVKParser(parser), diff.WithManager(argoManager),
	}, nil
}

// respecting is Git's object with what is ignored as it is in the cluster. The controller of Argo CD does the same, in a function
// that nobody else can call: normalize both, find what that took from the live one, add it to the other.
func respecting(ignore diff.Normalizer, live, git *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	bare, target := live.DeepCopy(), git.DeepCopy()
	if err := ignore.Normalize(bare); err != nil {
		return nil, err
	}
	if err := ignore.Normalize(target); err != nil {
		return nil, err
	}
	with, err := live.MarshalJSON()
	if err != nil {
		return nil, err
	}
	without, err := bare.MarshalJSON()
	if err != nil {
		return nil, err
	}
	onto, err := target.MarshalJSON()
	if err != nil {
		return nil, err
	}
	known, err := scheme.Scheme.New(target.GroupVersionKind())
	if err != nil {
		known = nil
	}
	merged, err := carriedOver(known, without, with, onto)
	if err != nil {
		return nil, fmt.Errorf("cannot respect what is ignored: %w", err)
	}
	found := &unstructured.Unstructured{}
	return found, found.UnmarshalJSON(merged)
}

// carriedOver adds to `onto` what `with` has and `without` has not: by the kind's own merge rules where it is built in.
func carriedOver(known runtime.Object, without, with, onto []byte) ([]byte, error) {
	if known == nil {
		patch, err := jsonpatch.CreateMergePatch(without, with)
		if err != nil {
			return nil, err
		}
		return jsonpatch.MergePatch(onto, patch)
	}
	meta, err := strategicpatch.NewPatchMetaFromStruct(known)
	if err != nil {
		return nil, err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(with, with, without, meta, true)
	if err != nil {
		return nil, err
	}
	return strategicpatch.StrategicMergePatch(onto, patch, known)
}

// What GitOps tools make of our objects, by the tools' own code: reads JSON on standard input, answers on standard output.
//
//	health   what Argo CD and Flux say of objects
//	argocd   what a sync by Argo CD would apply, and whether it finds a difference at all, by the cluster's schemas
//	flux     applies objects to the cluster as Flux does
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "the cluster of `argocd` and `flux`")
	flag.Parse()
	if err := run(context.Background(), flag.Arg(0), *kubeconfig); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, command, kubeconfig string) error {
	switch command {
	case "health":
		return answer(func(question healthQuestion) (any, error) { return health(ctx, question) })
	case "argocd":
		return answer(func(question syncQuestion) (any, error) { return argoSync(kubeconfig, question) })
	case "flux":
		return answer(func(question fluxQuestion) (any, error) { return fluxSync(ctx, kubeconfig, question) })
	default:
		return fmt.Errorf("no such command: %q", command)
	}
}

func answer[Question any](to func(Question) (any, error)) error {
	var question Question
	if err := json.NewDecoder(os.Stdin).Decode(&question); err != nil {
		return fmt.Errorf("cannot read the question: %w", err)
	}
	found, err := to(question)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// strict reads one of the tools' own types and refuses fields that it does not have.
func strict[T any](raw json.RawMessage) (*T, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	value := new(T)
	if err := decoder.Decode(value); err != nil {
		return nil, fmt.Errorf("not a valid %T: %w", *value, err)
	}
	return value, nil
}

# Nothing of the product is left in the cluster, in whatever state it was. Only in tests: Releases lose their finalizer.
for namespace in lockkeeper-system platform; do
  helm uninstall lockkeeper --namespace $namespace --ignore-not-found --no-hooks
  kubectl delete deployments,pods,networkpolicies,poddisruptionbudgets,roles,rolebindings,serviceaccounts,leases \
    --namespace $namespace --selector app.kubernetes.io/part-of=lockkeeper --wait=true
  kubectl delete leases --all --namespace $namespace
done
ours="--selector app.kubernetes.io/part-of=lockkeeper"
kubectl delete validatingadmissionpolicybindings,validatingadmissionpolicies,clusterroles,clusterrolebindings $ours
if kubectl api-resources --api-group=admissionregistration.k8s.io --no-headers | grep ^mutatingadmissionpolicies > /dev/null; then
  kubectl delete mutatingadmissionpolicybindings,mutatingadmissionpolicies $ours
fi
if [ -n "$(kubectl get crd releases.lockkeeper.dev --ignore-not-found --output name)" ]; then
  kubectl get releases --all-namespaces --no-headers | while read -r namespace name rest; do
    kubectl patch release "$name" --namespace "$namespace" --type=merge -p '{"metadata":{"finalizers":null}}'
  done
  kubectl delete crd {releases,deploymentwindows,rollbackpolicies,decisions}.lockkeeper.dev --ignore-not-found
fi
# What a story that failed has left mid-way is nobody's any more.
kubectl get deployments --all-namespaces --no-headers | while read -r namespace name rest; do
  kubectl annotate deployment "$name" --namespace "$namespace" lockkeeper.dev/release- lockkeeper.dev/hold- lockkeeper.dev/paused-by-
done

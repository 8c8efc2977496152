{{/* Labels of every object. */}}
{{- define "lockkeeper.labels" -}}
app.kubernetes.io/name: lockkeeper
app.kubernetes.io/part-of: lockkeeper
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What the pods are selected by: a cluster has one installation. */}}
{{- define "lockkeeper.selector" -}}
app.kubernetes.io/name: lockkeeper
app.kubernetes.io/component: operator
{{- end }}

{{/* Mutating, Validating or None. */}}
{{- define "lockkeeper.policies" -}}
{{- if ne .Values.policies.mode "Auto" -}}
{{ .Values.policies.mode }}
{{- else if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
Mutating
{{- else -}}
Validating
{{- end }}
{{- end }}

{{/* Paths of the policies' files, separated by spaces. */}}
{{- define "lockkeeper.policyFiles" -}}
{{- $mode := include "lockkeeper.policies" . -}}
{{- range $path, $_ := .Files.Glob "files/policies/*/*.yaml" -}}
{{- if and (ne $mode "None") (or (hasPrefix "files/policies/common/" $path) (hasPrefix (printf "files/policies/%s/" (lower $mode)) $path)) }}{{ $path }} {{ end -}}
{{- end -}}
{{- end }}

{{/* The user as whom the API server knows the operator. */}}
{{- define "lockkeeper.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ .Values.serviceAccount.name }}
{{- end }}

{{/*
The objects of a file as a list {objects: [...]}, in this release's namespace, for its service account, with its labels.
Takes a dict of root and path.
*/}}
{{- define "lockkeeper.objects" -}}
{{- $root := .root }}
{{- $text := $root.Files.Get .path | replace "system:serviceaccount:lockkeeper-system:lockkeeper" (include "lockkeeper.user" $root) }}
{{- $labels := include "lockkeeper.labels" $root | fromYaml }}
{{- $objects := list }}
{{- range $document := regexSplit "(?m)^---\n" $text -1 }}
{{- $object := fromYaml $document }}
{{- if $object }}
{{- $metadata := $object.metadata }}
{{- $_ := set $metadata "labels" (merge (dict) $labels (default (dict) $metadata.labels)) }}
{{- if $metadata.namespace }}
{{- $_ := set $metadata "namespace" $root.Release.Namespace }}
{{- end }}
{{- range $subject := $object.subjects }}
{{- $_ := set $subject "name" $root.Values.serviceAccount.name }}
{{- $_ := set $subject "namespace" $root.Release.Namespace }}
{{- end }}
{{- $objects = append $objects $object }}
{{- end }}
{{- end }}
{{- dict "objects" $objects | toYaml }}
{{- end }}

{{/* What a schema cannot say. */}}
{{- define "lockkeeper.check" -}}
{{- if and (not .Values.leaderElection.enabled) (gt (int .Values.replicas) 1) }}
{{- fail "replicas must be 1 where leaderElection.enabled is false: of several processes one must lead" }}
{{- end }}
{{- if not (regexMatch "^$|^https?://[^/@ ]+(/[^ ]*)?$" .Values.prometheusUrl) }}
{{- fail (printf "prometheusUrl is %s: write it like http://prometheus.monitoring:9090, without user and password" .Values.prometheusUrl) }}
{{- end }}
{{- end }}

{{- /*
The tokens of policies/*.yaml. They are the only template expressions in those files; the operator embeds the files and
substitutes the same tokens from the ConfigMap domicile-policy-values, to know what the installed policies must look like.
*/ -}}

{{- define "domicile.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:domicile
{{- end -}}

{{- /* A YAML flow list, for namespaceSelectors. */ -}}
{{- define "domicile.ungovernedNamespaces" -}}
[{{ join ", " (uniq (list "kube-system" "kube-public" "kube-node-lease" .Release.Namespace)) }}]
{{- end -}}

{{- /* The same namespaces as a CEL list. */ -}}
{{- define "domicile.ungovernedList" -}}
{{ include "domicile.celList" (uniq (list "kube-system" "kube-public" "kube-node-lease" .Release.Namespace)) }}
{{- end -}}

{{- define "domicile.schedulerUsers" -}}
{{ include "domicile.celList" .Values.trustedSchedulers.users }}
{{- end -}}

{{- define "domicile.schedulerNames" -}}
{{ include "domicile.celList" .Values.trustedSchedulers.names }}
{{- end -}}

{{- define "domicile.namespaceFinishers" -}}
{{ include "domicile.celList" .Values.namespaceFinishers }}
{{- end -}}

{{- define "domicile.nodeProvisioners" -}}
{{ include "domicile.celList" .Values.nodeProvisioners }}
{{- end -}}

{{- define "domicile.deviceDrivers" -}}
{{ include "domicile.celList" .Values.deviceDrivers }}
{{- end -}}

{{- /*
Annotations that give a pod a network or an address which network policies do not reach: the keys of further-networks.csv, up
to the first comma of each row after the first.
*/ -}}
{{- define "domicile.furtherNetworks" -}}
{{- $keys := list -}}
{{- range rest (.Files.Lines "further-networks.csv") -}}
{{- $key := first (splitList "," .) -}}
{{- if and $key (not (has $key $.Values.furtherNetworks.permit)) -}}
{{- $keys = append $keys $key -}}
{{- end -}}
{{- end -}}
{{ include "domicile.celList" (uniq (concat $keys .Values.furtherNetworks.refuse)) }}
{{- end -}}

{{- /* A CEL list of strings. values.schema.json admits no quotes and no backslashes in them. */ -}}
{{- define "domicile.celList" -}}
[{{ range $place, $item := . }}{{ if $place }}, {{ end }}'{{ $item }}'{{ end }}]
{{- end -}}

{{- define "domicile.labels" -}}
app.kubernetes.io/name: domicile
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: domicile
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "domicile.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end -}}

{{- /* Whether the API server mutates by policy: MutatingAdmissionPolicy is served in v1 (1.36 and later). */ -}}
{{- define "domicile.mutates" -}}
{{ if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" }}true{{ end }}
{{- end -}}

{{- /* Whether the mutating webhook is installed. */ -}}
{{- define "domicile.webhook" -}}
{{ if or (eq .Values.webhook.mode "Enabled") (and (eq .Values.webhook.mode "Auto") (not (include "domicile.mutates" .))) }}true{{ end }}
{{- end -}}

{{- /* What all webhooks say. The operator writes clientConfig.caBundle. */ -}}
{{- define "domicile.webhookCommon" -}}
admissionReviewVersions: [v1]
failurePolicy: Ignore        # the validating policies refuse what was not mutated
sideEffects: None
reinvocationPolicy: IfNeeded
timeoutSeconds: 3
clientConfig:
  {{- if .Values.webhook.url }}
  url: {{ printf "%s/mutate" (trimSuffix "/" .Values.webhook.url) | quote }}
  {{- else }}
  service: {name: domicile-webhook, namespace: {{ .Release.Namespace }}, path: /mutate}
  {{- end }}
{{- end -}}

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

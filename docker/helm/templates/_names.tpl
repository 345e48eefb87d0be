{{- define "rddm.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* At most 40 characters: names of parts and pods are made by adding to it. */ -}}
{{- define "rddm.fullname" -}}
{{- $name := include "rddm.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "rddm.serviceAccountName" -}}
{{- default (ternary (include "rddm.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- /* (list root component): what selects a component's pods, and never changes */ -}}
{{- define "rddm.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "rddm.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- /* (list root component) */ -}}
{{- define "rddm.labels" -}}
{{- $root := index . 0 -}}
{{ include "rddm.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{- /* (list root image) */ -}}
{{- define "rddm.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
image: {{ if $image.digest }}{{ printf "%s@%s" $image.repository $image.digest | quote }}{{ else }}{{ printf "%s:%s" $image.repository (default $root.Chart.AppVersion $image.tag) | quote }}{{ end }}
imagePullPolicy: {{ $image.pullPolicy }}
{{- end -}}

{{- /* Deployment, or StatefulSet where each pod has a volume */ -}}
{{- define "rddm.gatewayKind" -}}
{{- if and (eq .Values.jobs.store "sqlite") .Values.jobs.sqlite.persistence -}}StatefulSet{{- else -}}Deployment{{- end -}}
{{- end -}}

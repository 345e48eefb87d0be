{{- /* (list root resources): what follows image and command in each container of a batch */ -}}
{{- define "rddm.batchContainer" -}}
{{- $batch := (index . 0).Values.batch -}}
env:
  {{- /* Libraries that keep something in the home folder: the root is read-only. */}}
  - {name: HOME, value: /tmp}
  {{- with $batch.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $batch.existingSecret }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
resources: {{- toYaml (index . 1) | nindent 2 }}
{{ include "rddm.containerSecurity" . }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if eq $batch.kind "ray" }}
  - {name: shared-memory, mountPath: /dev/shm}
  {{- end }}
{{- end -}}

{{- define "rddm.batchVolumes" -}}
- {name: tmp, emptyDir: {}}
{{- if eq .Values.batch.kind "ray" }}
- name: shared-memory
  emptyDir: {medium: Memory, sizeLimit: 1Gi}
{{- end }}
{{- end -}}

{{- /* (list root container resources): a pod template of a Ray cluster */ -}}
{{- define "rddm.rayPod" -}}
{{- $root := index . 0 -}}
{{- $batch := $root.Values.batch -}}
metadata:
  labels: {{- include "rddm.labels" (list $root "batch") | nindent 4 }}
spec:
  serviceAccountName: {{ include "rddm.serviceAccountName" $root }}
  {{- include "rddm.podSecurity" $root | nindent 2 }}
  {{- include "rddm.placement" $batch | nindent 2 }}
  containers:
    - name: {{ index . 1 }}
      {{- include "rddm.image" (list $root $batch.image) | nindent 6 }}
      {{- include "rddm.batchContainer" (list $root (index . 2)) | nindent 6 }}
  volumes: {{- include "rddm.batchVolumes" $root | nindent 4 }}
{{- end -}}

{{- /* A command line of these words for a POSIX shell */ -}}
{{- define "rddm.shellWords" -}}
{{- range $index, $word := . -}}
{{- if $index }} {{ end -}}
{{- if regexMatch "^[A-Za-z0-9_./:=@%+-]+$" $word -}}{{ $word }}{{- else -}}{{ printf "'%s'" (replace "'" "'\"'\"'" $word) }}{{- end -}}
{{- end -}}
{{- end -}}

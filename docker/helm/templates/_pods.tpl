{{- /* What every pod of this chart has */ -}}
{{- define "rddm.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "rddm.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- /* (list root placement): placement is a map with nodeSelector, tolerations and, perhaps, affinity */ -}}
{{- define "rddm.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* (list root resources onGpu): resources of a container, with the GPUs of the one in which the models run */ -}}
{{- define "rddm.resources" -}}
{{- $root := index . 0 -}}
{{- $resources := deepCopy (index . 1) -}}
{{- if and (index . 2) (gt (int $root.Values.gpu.count) 0) -}}
{{- $limits := merge (dict $root.Values.gpu.resource (int $root.Values.gpu.count)) (default dict $resources.limits) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
resources: {{- toYaml $resources | nindent 2 }}
{{- end -}}

{{- /* (list root component): pods of one component on many nodes and in many zones */ -}}
{{- define "rddm.spread" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.topologySpread.enabled }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: {{ $root.Values.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels: {{- include "rddm.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "rddm.modelsVolume" -}}
{{- with .Values.models.existingClaim }}
- name: models
  persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "rddm.modelsMount" -}}
{{- if .Values.models.existingClaim }}
- {name: models, mountPath: /models, readOnly: true}
{{- end }}
{{- end -}}

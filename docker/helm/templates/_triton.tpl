{{- /*
A Triton container. No probe asks /v2/health/ready: it is false while any model loads, and for good after one that failed to load,
whatever the other models do. The gateway proves each model by an inference instead.
The server's HTTP port is on the container's loopback, so that the probe runs inside.
*/ -}}
{{- define "rddm.tritonContainer" -}}
name: triton
{{ include "rddm.image" (list . .Values.triton.image) }}
env:
  - {name: MODELS, value: {{ ternary "/models" "/opt/project/model_repository" (ne .Values.models.existingClaim "") }}}
  {{- if gt (int .Values.gpu.count) 0 }}
  - {name: PLANS, value: /plans}
  {{- end }}
  {{- if eq .Values.engine "sidecar" }}
  - {name: GRPC_ADDRESS, value: 127.0.0.1}
  {{- end }}
  {{- if .Values.serviceMonitor.enabled }}
  - {name: METRICS_ADDRESS, value: 0.0.0.0}
  {{- end }}
ports:
  - {name: grpc, containerPort: 8001}
  - {name: triton-metrics, containerPort: 8002}
startupProbe:
  exec: {command: &live [curl, --fail, --silent, --max-time, "4", "http://127.0.0.1:8080/v2/health/live"]}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ max 1 (div .Values.triton.startSeconds 5) }}
livenessProbe:
  exec: {command: *live}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{ include "rddm.resources" (list . .Values.triton.resources true) }}
{{ include "rddm.containerSecurity" . }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: shared-memory, mountPath: /dev/shm}
  {{- if gt (int .Values.gpu.count) 0 }}
  - {name: plans, mountPath: /plans, readOnly: true}
  {{- end }}
  {{- include "rddm.modelsMount" . | nindent 2 }}
{{- end -}}

{{- /* Builds the TensorRT plans that are missing, on the GPU that will run them */ -}}
{{- define "rddm.plansContainer" -}}
name: tensorrt
{{ include "rddm.image" (list . .Values.triton.image) }}
command: [rddm, export, --tensorrt, {{ ternary "/models" "/opt/project/model_repository" (ne .Values.models.existingClaim "") }}, -o, /plans]
{{ include "rddm.resources" (list . .Values.triton.resources true) }}
{{ include "rddm.containerSecurity" . }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: plans, mountPath: /plans}
  {{- include "rddm.modelsMount" . | nindent 2 }}
{{- end -}}

{{- define "rddm.tritonVolumes" -}}
- name: shared-memory
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.triton.sharedMemory }}}
{{- if gt (int .Values.gpu.count) 0 }}
- name: plans
  {{- if .Values.triton.plans.existingClaim }}
  persistentVolumeClaim: {claimName: {{ .Values.triton.plans.existingClaim }}}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
{{- end -}}

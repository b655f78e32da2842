{{/* The environment of every Ray container. One text, so that no two pods differ. */}}
{{- define "sentigraph.rayEnvironment" -}}
# Both or neither: one alone serves slower than the default, and workers never become ready.
- {name: RAY_SERVE_ENABLE_HA_PROXY, value: "1"}
- {name: RAY_SERVE_THROUGHPUT_OPTIMIZED, value: "1"}
# The front stays open; operations/front/settings.py has the reasons, a test holds these to it.
- {name: RAY_SERVE_HAPROXY_BINARY_PATH, value: /venv/bin/sentigraph-haproxy}
- {name: RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S, value: "1"}
- {name: RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER, value: 2s}
- {name: RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S, value: "60"}
- {name: RAY_ROTATION_MAX_BYTES, value: "16777216"}
- {name: RAY_ROTATION_BACKUP_COUNT, value: "3"}
- {name: RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT, value: {{ .Values.ports.replicasHttp.from | quote }}}
- {name: RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT, value: {{ .Values.ports.replicasHttp.to | quote }}}
- {name: RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT, value: {{ .Values.ports.replicasGrpc.from | quote }}}
- {name: RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT, value: {{ .Values.ports.replicasGrpc.to | quote }}}
- {name: RAY_SERVE_FALLBACK_PROXY_HTTP_PORT, value: {{ .Values.ports.fallbackHttp | quote }}}
- {name: RAY_SERVE_FALLBACK_PROXY_GRPC_PORT, value: {{ .Values.ports.fallbackGrpc | quote }}}
# Ray takes gRPC messages of 2 GB; this much is read before our own limits.max_body_bytes.
- {name: RAY_SERVE_GRPC_MAX_MESSAGE_SIZE, value: "16777216"}
- {name: AUTOSCALER_METRIC_PORT, value: {{ .Values.ports.autoscalerMetrics | quote }}}
- {name: DASHBOARD_METRIC_PORT, value: {{ .Values.ports.dashboardMetrics | quote }}}
{{- $monitoring := .Values.monitoring }}
# Panels in the Ray dashboard; DISABLED hides their places.
- {name: RAY_GRAFANA_HOST, value: {{ $monitoring.grafana.url | default "DISABLED" | quote }}}
{{- if $monitoring.grafana.url }}
- {name: RAY_GRAFANA_IFRAME_HOST, value: {{ $monitoring.grafana.browserUrl | default $monitoring.grafana.url | quote }}}
- {name: RAY_PROMETHEUS_NAME, value: {{ $monitoring.grafana.datasource | quote }}}
- name: RAY_GRAFANA_CLUSTER_FILTER
  valueFrom:
    fieldRef: {fieldPath: "metadata.labels['ray.io/cluster']"}
{{- end }}
{{- with $monitoring.prometheus.url }}
- {name: RAY_PROMETHEUS_HOST, value: {{ . | quote }}}
{{- end }}
# Empty: otherwise uvicorn takes the client's address from a header of the client.
- {name: FORWARDED_ALLOW_IPS, value: ""}
- {name: RAY_USAGE_STATS_ENABLED, value: "0"}
- {name: RAY_ENABLE_UV_RUN_RUNTIME_ENV, value: "0"}
# The root file system is read-only.
- {name: HOME, value: /home/sentigraph}
- {name: PYTHONDONTWRITEBYTECODE, value: "1"}
{{- if .Values.redis.caCertificate }}
- {name: RAY_REDIS_CA_CERT, value: /etc/sentigraph/redis/ca.crt}
- {name: MLOPS_REDIS__TLS_CA_FILE, value: /etc/sentigraph/redis/ca.crt}
{{- end }}
{{- range $name, $value := .Values.environment }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- if .Values.secrets.settings }}
# Files, not variables: every process of Ray would have those, and what it starts.
- {name: SENTIGRAPH_SECRETS_DIR, value: /etc/sentigraph/secrets}
{{- end }}
{{- end -}}

{{/* A Ray pod. root: the chart's context; group: "head" or a worker group's name; size: its values. */}}
{{- define "sentigraph.rayPod" -}}
{{- $root := .root -}}
{{- $ports := $root.Values.ports -}}
{{- $head := eq .group "head" -}}
{{- $vault := and (not $head) (include "sentigraph.logsInToVault" $root) -}}
metadata:
  labels:
    {{- include "sentigraph.rayPods" (dict "root" $root "group" .group) | nindent 4 }}
    {{- include "sentigraph.origin" $root | nindent 4 }}
    sentigraph/serves: {{ not $head | quote }}
    {{- if not $head }}
    {{- with $root.Values.workerIdentity.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- end }}
spec:
  # What autoscaler version 2 expects: it replaces pods, it does not wait for restarts.
  restartPolicy: Never
  # Above HAProxy's hard stop of 120 s.
  terminationGracePeriodSeconds: 150
  serviceAccountName: {{ include "sentigraph.name" $root }}-{{ $head | ternary "head" "worker" }}
  # Only the head speaks to the API server: its autoscaler adds pods.
  automountServiceAccountToken: {{ $head }}
  securityContext:
    {{- include "sentigraph.podSecurity" $root | nindent 4 }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .size.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- $tolerations := .size.tolerations | default list }}
  {{- if .size.gpus }}
  {{- $tolerations = append $tolerations (dict "key" "nvidia.com/gpu" "operator" "Exists" "effect" "NoSchedule") }}
  {{- end }}
  {{- if .size.spot }}
  {{- /* Ours from terraform/, and the one that Azure sets by itself. */}}
  {{- range list "sentigraph/spot" "kubernetes.azure.com/scalesetpriority" }}
  {{- $tolerations = append $tolerations (dict "key" . "operator" "Exists" "effect" "NoSchedule") }}
  {{- end }}
  {{- end }}
  {{- with $tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if not $head }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "sentigraph.rayPods" (dict "root" $root "group" $.group) | nindent 10 }}
    {{- end }}
  {{- end }}
  containers:
    - name: ray-{{ $head | ternary "head" "worker" }}
      image: {{ include "sentigraph.image" (dict "root" $root "image" $root.Values.image) }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      securityContext:
        {{- include "sentigraph.containerSecurity" $root | nindent 8 }}
      env:
        {{- include "sentigraph.rayEnvironment" $root | nindent 8 }}
      ports:
        - {name: serve, containerPort: {{ $ports.serve }}}
        - {name: grpc, containerPort: {{ $ports.grpc }}}
        - {name: metrics, containerPort: {{ $ports.metrics }}}
        - {name: agent, containerPort: {{ $ports.agent }}}
        {{- if $head }}
        - {name: gcs-server, containerPort: {{ $ports.gcs }}}
        - {name: client, containerPort: {{ $ports.client }}}
        - {name: dashboard, containerPort: {{ $ports.dashboard }}}
        - {name: as-metrics, containerPort: {{ $ports.autoscalerMetrics }}}
        - {name: dash-metrics, containerPort: {{ $ports.dashboardMetrics }}}
        {{- end }}
      resources:
        {{- include "sentigraph.resources" .size | nindent 8 }}
      # Our own, by HTTP: KubeRay's default for workers runs wget, which the image does not have.
      startupProbe:
        httpGet: {path: /api/local_raylet_healthz, port: agent}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /api/local_raylet_healthz, port: agent}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 12
      readinessProbe:
        {{- if $head }}
        # Raylet and cluster state together.
        httpGet: {path: /api/healthz, port: agent}
        {{- else }}
        # HAProxy of this node; a worker without replicas is not ready, by design.
        httpGet: {path: /-/healthz, port: serve}
        {{- end }}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: {{ $head | ternary 3 1 }}
      lifecycle:
        preStop:
          exec:
            command: [/bin/sh, -c, ray stop]
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: home, mountPath: /home/sentigraph}
        - {name: state, mountPath: /app/.sentigraph}
        {{- if $root.Values.redis.caCertificate }}
        - {name: redis-ca, mountPath: /etc/sentigraph/redis, readOnly: true}
        {{- end }}
        {{- if $root.Values.secrets.settings }}
        - {name: secrets, mountPath: /etc/sentigraph/secrets, readOnly: true}
        {{- end }}
        {{- with .size.claim }}
        - {name: jobs, mountPath: /app/jobs}
        {{- end }}
        {{- if $vault }}
        # Where vault.jwt_file looks.
        - {name: vault-login, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
        {{- end }}
    {{- with $root.Values.logs }}
    {{- if .onStdout }}
    # Ray writes files; the node's collector reads what a container prints.
    - name: logs
      image: {{ include "sentigraph.image" (dict "root" $root "image" $root.Values.image) }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      securityContext:
        {{- include "sentigraph.containerSecurity" $root | nindent 8 }}
      command: [python, -m, cli, logs, --follow, --dir, /tmp/ray/session_latest/logs/serve]
      resources:
        {{- include "sentigraph.resources" (dict "resources" .resources) | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp, readOnly: true}
    {{- end }}
    {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    - name: home
      emptyDir: {sizeLimit: 64Mi}
    - name: state
      emptyDir: {sizeLimit: 4Gi}
    {{- if $root.Values.redis.caCertificate }}
    - name: redis-ca
      configMap: {name: {{ include "sentigraph.name" $root }}-redis-ca}
    {{- end }}
    {{- if $root.Values.secrets.settings }}
    - name: secrets
      secret:
        secretName: {{ $root.Values.secrets.name }}
        # Read by the group of fsGroup.
        defaultMode: 0440
        items:
          {{- range $name, $key := $root.Values.secrets.settings }}
          - {key: {{ $key }}, path: {{ $name }}}
          {{- end }}
    {{- end }}
    {{- with .size.claim }}
    - name: jobs
      persistentVolumeClaim: {claimName: {{ . }}}
    {{- end }}
    {{- if $vault }}
    # For Vault, which asks the API server about it; the account itself may do nothing there.
    - name: vault-login
      projected:
        sources:
          - serviceAccountToken: {path: token, expirationSeconds: 3600}
    {{- end }}
{{- end -}}

{{/* What `ray start` gets on every node: fixed ports, so that policies can name them. */}}
{{- define "sentigraph.startParameters" -}}
{{- $ports := .Values.ports -}}
metrics-export-port: {{ $ports.metrics | quote }}
dashboard-agent-listen-port: {{ $ports.agent | quote }}
dashboard-agent-grpc-port: {{ $ports.agentGrpc | quote }}
node-manager-port: {{ $ports.nodeManager | quote }}
object-manager-port: {{ $ports.objectManager | quote }}
runtime-env-agent-port: {{ $ports.runtimeEnvAgent | quote }}
min-worker-port: {{ $ports.workers.from | quote }}
max-worker-port: {{ $ports.workers.to | quote }}
{{- end -}}

{{/* Name of everything that belongs to the release. */}}
{{- define "sentigraph.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "sentigraph.origin" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "sentigraph.labels" -}}
app.kubernetes.io/name: sentigraph
app.kubernetes.io/instance: {{ .Release.Name }}
{{ include "sentigraph.origin" . }}
{{- end -}}

{{/* What selects the Ray pods, of every group or, with `group`, of one. */}}
{{- define "sentigraph.rayPods" -}}
app.kubernetes.io/name: sentigraph
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: ray
{{- with .group }}
sentigraph/group: {{ . }}
{{- end }}
{{- end -}}

{{- define "sentigraph.mlflowPods" -}}
app.kubernetes.io/name: sentigraph
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: mlflow
{{- end -}}

{{- define "sentigraph.image" -}}
{{- $image := .image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "sentigraph.trackingUri" -}}
{{- if .Values.mlflow.enabled -}}
http://{{ include "sentigraph.name" . }}-mlflow.{{ .Release.Namespace }}.svc:5000
{{- else -}}
{{ required "mlflow.trackingUri: an address is needed when mlflow.enabled is false" .Values.mlflow.trackingUri }}
{{- end -}}
{{- end -}}

{{/* serve_config.yaml with the environment's overlay: what serveConfigV2 holds. */}}
{{- define "sentigraph.serveConfig" -}}
{{- $config := .Files.Get "files/serve_config.yaml" | fromYaml -}}
{{- if ne (len $config.applications) 1 -}}
{{- fail "serve_config.yaml must hold exactly one application" -}}
{{- end -}}
{{- $application := index $config.applications 0 -}}
{{- $address := dict "args" (dict "registry" (dict "tracking_uri" (include "sentigraph.trackingUri" .))) -}}
{{- $application = mergeOverwrite $application $address (deepCopy (.Values.serve.application | default dict)) -}}
{{- if eq (include "sentigraph.jobsStore" .) "volume" -}}
{{- $_ := set $application "args" (mergeOverwrite $application.args (dict "jobs" (dict "database" "sqlite:////app/jobs/jobs.db"))) -}}
{{- $place := dict "name" "Jobs" "ray_actor_options" (dict "num_cpus" 0 "resources" (dict "jobs-volume" 1)) -}}
{{- $_ = set $application "deployments" (append ($application.deployments | default list) $place) -}}
{{- end -}}
{{- $config = mergeOverwrite $config (deepCopy (omit .Values.serve "application")) -}}
{{- $_ := set $config "applications" (list $application) -}}
{{- $_ = set $config.grpc_options "port" .Values.ports.grpc -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "sentigraph.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "sentigraph.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10001
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "sentigraph.amounts" -}}
cpu: {{ .resources.cpu | quote }}
memory: {{ .resources.memory }}
{{- with .resources.ephemeralStorage }}
ephemeral-storage: {{ . }}
{{- end }}
{{- with .gpus }}
nvidia.com/gpu: {{ . }}
{{- end }}
{{- end -}}

{{/* Requests equal limits: nothing is taken from a neighbour, and Ray counts what it has. */}}
{{- define "sentigraph.resources" -}}
requests:
  {{- include "sentigraph.amounts" . | nindent 2 }}
limits:
  {{- include "sentigraph.amounts" . | nindent 2 }}
{{- end -}}

{{- define "sentigraph.dnsEgress" -}}
- to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ .Values.networkPolicy.dnsNamespace }}}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end -}}

{{- define "sentigraph.cidrs" -}}
{{- range . }}
{{- if hasSuffix "/0" . }}
{{- fail (printf "%s is the whole internet: name the networks" .) }}
{{- end }}
- ipBlock: {cidr: {{ . | quote }}}
{{- end }}
{{- end -}}

{{/* Where batch jobs are kept: "", "database" or "volume". Refuses what could lose or block them. */}}
{{- define "sentigraph.jobsStore" -}}
{{- $jobs := dig "application" "args" "jobs" dict .Values.serve -}}
{{- if $jobs.enabled -}}
{{- if hasKey .Values.secrets.settings "MLOPS_JOBS__DATABASE" -}}
database
{{- else -}}
{{- if $jobs.database -}}
{{- fail "serve.application.args.jobs.database would stand in the Serve config, which the dashboard shows: name MLOPS_JOBS__DATABASE in secrets.settings, or leave it out and use the volume" -}}
{{- end -}}
{{- if ne .Values.upgrade.type "None" -}}
{{- fail (printf "jobs are kept on a volume that one pod may have, and with upgrade.type=%s a second cluster would wait for it for ever: name MLOPS_JOBS__DATABASE in secrets.settings, or set upgrade.type to None" .Values.upgrade.type) -}}
{{- end -}}
volume
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Paths that are reachable from outside, as a YAML list. */}}
{{- define "sentigraph.publicPaths" -}}
{{- $paths := list "/api/v1/predict" "/api/v1/feedback" "/api/v1/batch" "/api/v1/model-info" "/api/v1/model" "/api/v1/health" "/api/v1/ready" "/health" "/ready" "/v2" -}}
{{- if .Values.routes.registry -}}
{{- $paths = append $paths "/api/v1/models" -}}
{{- end -}}
{{- toYaml $paths -}}
{{- end -}}

{{/* Peers of `networkPolicy.reaches`: networks and namespaces. */}}
{{- define "sentigraph.peers" -}}
{{- include "sentigraph.cidrs" .cidrs }}
{{- range .namespaces }}
- namespaceSelector:
    matchLabels: {kubernetes.io/metadata.name: {{ . }}}
{{- end }}
{{- end -}}

{{/* What no schema can tell: values that contradict one another. */}}
{{- define "sentigraph.refuseContradictions" -}}
{{- $args := dig "application" "args" dict .Values.serve }}
{{- $public := has (dig "profile" "" $args) (list "staging" "production") }}
{{- if dig "access" "required" $public $args }}
{{- $keys := or (hasKey .Values.secrets.settings "MLOPS_ACCESS__API_KEYS") (hasKey .Values.secrets.settings "MLOPS_ACCESS__API_KEY") }}
{{- if not (or $keys (dig "access" "jwt" "jwks" "" $args) (dig "vault" "enabled" false $args)) }}
{{- fail "access.required, which profiles staging and production set, and no key: name MLOPS_ACCESS__API_KEYS in secrets.settings, or set access.jwt or vault in serve.application.args; access.required=false there serves anybody" }}
{{- end }}
{{- end }}
{{- range $group, $size := .Values.workers }}
{{- if $size }}
{{- if gt (int $size.minReplicas) (int $size.maxReplicas) }}
{{- fail (printf "workers.%s.minReplicas=%d is above workers.%s.maxReplicas=%d" $group (int $size.minReplicas) $group (int $size.maxReplicas)) }}
{{- end }}
{{- end }}
{{- end }}
{{- $taken := dict }}
{{- range $name, $port := .Values.ports }}
{{- if not (kindIs "map" $port) }}
{{- with get $taken (toString $port) }}
{{- fail (printf "ports.%s and ports.%s are both %d" . $name (int $port)) }}
{{- end }}
{{- $_ := set $taken (toString $port) $name }}
{{- /* Ray's own defaults lie in the ephemeral range, which is no range of ours. */}}
{{- range $other, $range := omit $.Values.ports "ephemeral" }}
{{- if kindIs "map" $range }}
{{- if and (ge (int $port) (int $range.from)) (le (int $port) (int $range.to)) }}
{{- fail (printf "ports.%s=%d lies in ports.%s, %d to %d" $name (int $port) $other (int $range.from) (int $range.to)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Whether replicas log in to Vault themselves as the pod's service account. */}}
{{- define "sentigraph.logsInToVault" -}}
{{- $vault := dig "application" "args" "vault" dict .Values.serve -}}
{{- if and $vault.enabled (eq (default "" $vault.auth) "kubernetes") -}}
true
{{- end -}}
{{- end -}}

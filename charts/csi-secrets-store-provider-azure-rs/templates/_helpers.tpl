{{- define "provider.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* The same in every cluster, whatever the release is called: alerts, runbooks and people look for it. Room for the
longest suffix, "-dashboard". */ -}}
{{- define "provider.fullname" -}}
{{- default .Chart.Name .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "provider.selectorLabels" -}}
app.kubernetes.io/name: {{ include "provider.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "provider.labels" -}}
{{ include "provider.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "provider.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "provider.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* Whether pods are told of their rotations. The rights for it never go to the service account "default", which other
pods of the namespace run as, too. */ -}}
{{- define "provider.podEvents" -}}
{{- if and .Values.podEvents.enabled (ne (include "provider.serviceAccountName" .) "default") }}true{{ end -}}
{{- end -}}

{{- define "provider.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "provider.hasPolicy" -}}
{{- if or .Values.policy.existingConfigMap (kindIs "slice" .Values.policy.rules) }}true{{ end -}}
{{- end -}}

{{- /* What cannot work is refused here, rather than on the nodes. */ -}}
{{- define "provider.check" -}}
{{- if and .Values.networkPolicy.enabled .Values.hostNetwork -}}
{{- fail "networkPolicy.enabled has no effect with hostNetwork: set one of them to false" -}}
{{- end -}}
{{- if and .Values.policy.existingConfigMap (kindIs "slice" .Values.policy.rules) -}}
{{- fail "policy.rules and policy.existingConfigMap: set one of them" -}}
{{- end -}}
{{- $names := list -}}
{{- range .Values.policy.rules -}}
{{- if has .name $names -}}
{{- fail (printf "policy.rules: two rules have the name %s" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- if and .Values.ca.existingConfigMap .Values.ca.bundle -}}
{{- fail "ca.bundle and ca.existingConfigMap: set one of them" -}}
{{- end -}}
{{- if and (eq .Values.cloud.name "AzureStackCloud") (not .Values.cloud.environmentFile) -}}
{{- fail "cloud.name AzureStackCloud needs its endpoints in cloud.environmentFile" -}}
{{- end -}}
{{- if hasKey (fromJson (default "{}" .Values.cloud.environmentFile)) "Error" -}}
{{- fail "cloud.environmentFile: expected JSON" -}}
{{- end -}}
{{- range list "app" "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/version" -}}
{{- if hasKey (default dict $.Values.podLabels) . -}}
{{- fail (printf "podLabels: the label %s is the chart's own" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.metrics.podMonitor.enabled .Values.metrics.serviceMonitor.enabled -}}
{{- fail "metrics.podMonitor and metrics.serviceMonitor scrape the same pods: enable one of them" -}}
{{- end -}}
{{- $contexts := list (default dict .Values.securityContext) (default dict .Values.podSecurityContext) -}}
{{- range $contexts -}}
{{- if and $.Values.seLinux.type .seLinuxOptions -}}
{{- fail "seLinux.type and the seLinuxOptions of a security context: set one of them" -}}
{{- end -}}
{{- end -}}
{{- if .Values.securityContextConstraints.create -}}
{{- if not .Values.seLinux.type -}}
{{- fail "securityContextConstraints.create needs seLinux.type, such as spc_t: where OpenShift runs, nodes enforce SELinux" -}}
{{- end -}}
{{- with .Values.securityContext -}}
{{- if or .privileged .allowPrivilegeEscalation -}}
{{- fail "securityContextConstraints.create allows neither a privileged container nor privilege escalation: leave them out of securityContext, or use OpenShift's own SecurityContextConstraints \"privileged\"" -}}
{{- end -}}
{{- end -}}
{{- if eq (include "provider.serviceAccountName" .) "default" -}}
{{- fail "securityContextConstraints.create with the service account \"default\" would allow it to all pods of the namespace: set serviceAccount.create or serviceAccount.name" -}}
{{- end -}}
{{- end -}}
{{- $surges := not (include "provider.isZero" .Values.updateStrategy.maxSurge) -}}
{{- $unavailable := not (include "provider.isZero" .Values.updateStrategy.maxUnavailable) -}}
{{- if not (or $surges $unavailable) -}}
{{- fail "updateStrategy.maxSurge and updateStrategy.maxUnavailable: one of them must be above 0" -}}
{{- end -}}
{{- if and $surges $unavailable (not .Values.hostNetwork) -}}
{{- fail "updateStrategy.maxSurge and updateStrategy.maxUnavailable: Kubernetes wants one of them to be 0" -}}
{{- end -}}
{{- if eq (toString .Values.healthz.port) (toString .Values.metrics.port) -}}
{{- fail "healthz.port and metrics.port: they must differ" -}}
{{- end -}}
{{- if and (eq .Values.healthz.probes "exec") (regexMatch "--(endpoint|provider-name)" (join " " .Values.extraArgs)) -}}
{{- fail "extraArgs: set providerName, or PROVIDER_AZURE_RS_ENDPOINT in extraEnv, instead of --endpoint and --provider-name: the probes need it too" -}}
{{- end -}}
{{- $version := regexFind "^v?[0-9]+\\.[0-9]+\\.[0-9]+" .Values.image.tag -}}
{{- if and $version (not .Values.image.digest) (eq .Values.healthz.probes "exec") -}}
{{- if semverCompare "<0.1.1" $version -}}
{{- fail (printf "image.tag %s is older than 0.1.1, and its ping has no --same-pod: take a newer image, or set healthz.probes to http and healthz.port" .Values.image.tag) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.healthz.probes "http") (eq (toString .Values.healthz.port) "0") -}}
{{- fail "healthz.probes http needs healthz.port, such as 8989" -}}
{{- end -}}
{{- if and .Values.networkPolicy.healthzFrom (eq (toString .Values.healthz.port) "0") -}}
{{- fail "networkPolicy.healthzFrom needs healthz.port, such as 8989" -}}
{{- end -}}
{{- if and .Values.metrics.prometheusRule.enabled (hasPrefix "azmonitoring" .Values.metrics.apiVersion) -}}
{{- fail "metrics.prometheusRule: Azure Managed Prometheus has rules as Azure resources and not in the cluster; make them of the chart's files/alerts.yaml" -}}
{{- end -}}
{{- end -}}

{{- /* Of a number of pods, or a part of them. */ -}}
{{- define "provider.isZero" -}}
{{- if has (toString .) (list "0" "0%" "00%" "<nil>") }}true{{ end -}}
{{- end -}}

{{- /* A selector that has the system already is as good. */ -}}
{{- define "provider.nodeSelector" -}}
{{- merge (dict "kubernetes.io/os" "linux") (default dict .Values.nodeSelector) | toYaml -}}
{{- end -}}

{{- /* The driver's default, and the provider's: what is run in the pod finds the socket without being told. */ -}}
{{- define "provider.socketFolder" -}}
/var/run/secrets-store-csi-providers
{{- end -}}

{{- /* The files that are read when the provider starts. */ -}}
{{- define "provider.configData" -}}
{{- with .Values.ca.bundle -}}
ca.crt: {{ toJson . }}
{{ end -}}
{{- with .Values.cloud.environmentFile -}}
cloud.json: {{ toJson . }}
{{ end -}}
{{- end -}}

{{- define "provider.variable" -}}
{{- $value := index . 1 -}}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}
- name: {{ index . 0 }}
  value: {{ (kindIs "float64" $value | ternary (printf "%.0f" $value) $value) | toString | quote }}
{{- end -}}
{{- end -}}

{{- define "provider.env" -}}
{{- $values := .Values -}}
{{- $variables := list
  (list "PROVIDER_AZURE_RS_PROVIDER_NAME" $values.providerName)
  (list "PROVIDER_AZURE_RS_LOG_LEVEL" $values.log.level)
  (list "PROVIDER_AZURE_RS_LOG_FORMAT_JSON" $values.log.json)
  (list "PROVIDER_AZURE_RS_HEALTHZ_PORT" $values.healthz.port)
  (list "PROVIDER_AZURE_RS_PROMETHEUS_PORT" $values.metrics.port)
  (list "PROVIDER_AZURE_RS_MAX_CLASS_METRICS" $values.metrics.maxClasses)
  (list "PROVIDER_AZURE_RS_COMPAT_METRICS" $values.metrics.compat)
  (list "PROVIDER_AZURE_RS_LOCK_MEMORY" $values.lockMemory)
  (list "PROVIDER_AZURE_RS_ALLOWED_UID" (join "," $values.allowedUids))
  (list "PROVIDER_AZURE_RS_MOUNT_TIMEOUT" $values.limits.mountTimeout)
  (list "PROVIDER_AZURE_RS_DRAIN_TIMEOUT" $values.limits.drainTimeout)
  (list "PROVIDER_AZURE_RS_CONNECTION_MAX_AGE" $values.limits.connectionMaxAge)
  (list "PROVIDER_AZURE_RS_MAX_CONCURRENT_REQUESTS" $values.limits.maxConcurrentRequests)
  (list "PROVIDER_AZURE_RS_MAX_ANSWER_SIZE" $values.limits.maxAnswerSize)
  (list "PROVIDER_AZURE_RS_MEMORY_BUDGET" $values.limits.memoryBudget)
  (list "PROVIDER_AZURE_RS_CACHE_TTL" $values.cache.ttl)
  (list "PROVIDER_AZURE_RS_CACHE_VERSION_TTL" $values.cache.versionTtl)
  (list "PROVIDER_AZURE_RS_STALE_IF_ERROR" $values.cache.staleIfError)
  (list "PROVIDER_AZURE_RS_SHARED_READS" $values.cache.sharedReads)
  (list "PROVIDER_AZURE_RS_CACHE_MAX_BYTES" $values.cache.maxBytes)
  (list "PROVIDER_AZURE_RS_ROTATION_POLL_INTERVAL" $values.cache.rotationPollInterval)
  (list "PROVIDER_AZURE_RS_OBJECT_VERSION_HISTORY" $values.files.objectVersionHistory)
  (list "PROVIDER_AZURE_RS_CONSTRUCT_PEM_CHAIN" $values.files.constructPemChain)
  (list "PROVIDER_AZURE_RS_WRITE_CERT_AND_KEY_IN_SEPARATE_FILES" $values.files.writeCertAndKeyInSeparateFiles)
  (list "PROVIDER_AZURE_RS_CLOUD_NAME" $values.cloud.name)
  (list "PROVIDER_AZURE_RS_TOKEN_AUDIENCE" (join "," $values.cloud.tokenAudiences))
  (list "PROVIDER_AZURE_RS_TOKEN_PROXY_URL" $values.identityBinding.tokenProxyUrl)
  (list "PROVIDER_AZURE_RS_SNI_NAME" $values.identityBinding.sniName)
  (list "PROVIDER_AZURE_RS_POD_EVENTS" (ternary "auto" "false" (eq (include "provider.podEvents" .) "true")))
  (list "HTTPS_PROXY" $values.proxy.https)
  (list "NO_PROXY" $values.proxy.noProxy)
-}}
{{- if include "provider.hasPolicy" . -}}
{{- $variables = append $variables (list "PROVIDER_AZURE_RS_POLICY" "/etc/provider-azure-rs/policy/policy.yaml") -}}
{{- end -}}
{{- if $values.ca.existingConfigMap -}}
{{- $variables = append $variables (list "PROVIDER_AZURE_RS_CA_FILE" "/etc/provider-azure-rs/ca/ca.crt") -}}
{{- else if $values.ca.bundle -}}
{{- $variables = append $variables (list "PROVIDER_AZURE_RS_CA_FILE" "/etc/provider-azure-rs/config/ca.crt") -}}
{{- end -}}
{{- if $values.cloud.environmentFile -}}
{{- $variables = append $variables (list "AZURE_ENVIRONMENT_FILEPATH" "/etc/provider-azure-rs/config/cloud.json") -}}
{{- $variables = append $variables (list "PROVIDER_AZURE_RS_CLOUD_ENV_DIR" "/etc/provider-azure-rs/config") -}}
{{- end -}}
{{- /* As in the image, also where another one is used. */ -}}
{{- if not (contains "\"RUST_LIB_BACKTRACE\"" (toJson $values.extraEnv)) -}}
{{- $variables = append $variables (list "RUST_LIB_BACKTRACE" "0") -}}
{{- end -}}
{{- if and (include "provider.podEvents" .) (not $values.identityBinding.clusterCa) -}}
{{- /* The cluster's CA is in the pods, but only for the API server. */ -}}
{{- $trusted := "/etc/ssl/certs/ca-certificates.crt" -}}
{{- range $variables -}}
{{- if eq (first .) "PROVIDER_AZURE_RS_CA_FILE" -}}{{- $trusted = last . -}}{{- end -}}
{{- end -}}
{{- $variables = append $variables (list "PROVIDER_AZURE_RS_TOKEN_PROXY_CA_FILE" $trusted) -}}
{{- end -}}
{{- $own := list -}}
{{- range $values.extraEnv -}}{{- $own = append $own .name -}}{{- end -}}
{{- range $variables -}}
{{- if not (and (eq (first .) "PROVIDER_AZURE_RS_TOKEN_PROXY_CA_FILE") (has (first .) $own)) -}}
{{- include "provider.variable" . -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* What a probe does: the path that it asks, and the arguments of ping that tell the same. */ -}}
{{- define "provider.probe" -}}
{{- $context := index . 0 -}}
{{- if eq $context.Values.healthz.probes "http" -}}
httpGet:
  path: {{ index . 1 }}
  port: healthz
{{- else -}}
exec:
  command: {{ concat (list "/usr/bin/provider-azure-rs" "ping") (slice . 2) | toJson }}
{{- end -}}
{{- end -}}

{{- /* Whoever reads a graph at night wants to know which node. */ -}}
{{- define "provider.relabelings" -}}
- sourceLabels: [__meta_kubernetes_pod_node_name]
  targetLabel: node
{{- end -}}

{{- /* A file of alerts or panels, which find what is scraped by its name. */ -}}
{{- define "provider.file" -}}
{{- $context := index . 0 -}}
{{- $context.Files.Get (index . 1) | replace (printf ".*%s.*" $context.Chart.Name) (printf ".*%s.*" (include "provider.fullname" $context)) -}}
{{- end -}}

{{- /* Of any container that uses the socket. */ -}}
{{- define "provider.baseSecurityContext" -}}
{{- $context := deepCopy (default dict .Values.securityContext) -}}
{{- with .Values.seLinux -}}
{{- if .type -}}
{{- $_ := set $context "seLinuxOptions" (dict "type" .type "level" .level) -}}
{{- end -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{- define "provider.securityContext" -}}
{{- $context := include "provider.baseSecurityContext" . | fromYaml -}}
{{- if .Values.lockMemory -}}
{{- $_ := mergeOverwrite $context (dict "capabilities" (dict "add" (list "IPC_LOCK"))) -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

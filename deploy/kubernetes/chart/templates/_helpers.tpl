{{/* Metadata of an object: name, namespace (for those that have one), labels and annotations.
     (dict "root" $ "name" NAME "namespaced" BOOL "component" WORD "annotations" MAP) */}}
{{- define "flock.metadata" -}}
{{- $labels := merge (dict "app.kubernetes.io/part-of" "flock-netpol") (.labels | default dict) .root.Values.labels -}}
{{- $annotations := merge (.annotations | default dict) .root.Values.annotations -}}
name: {{ .name | toYaml }}
{{- if .namespaced }}
namespace: {{ .root.Release.Namespace | toYaml }}
{{- end }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Metadata of a workload's pods. (dict "name" NAME "of" VALUES) */}}
{{- define "flock.podMetadata" -}}
labels:
  {{- toYaml (merge (dict "app.kubernetes.io/name" .name "app.kubernetes.io/part-of" "flock-netpol") .of.podLabels) | nindent 2 }}
{{- with .of.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* An image: by digest where there is one, else by tag. (dict "root" $ "of" VALUES) */}}
{{- define "flock.image" -}}
{{- $registry := .root.Values.image.registry -}}
{{- $name := .of.repository -}}
{{- if $registry }}{{ $name = printf "%s/%s" (trimSuffix "/" $registry) $name }}{{ end -}}
{{- if .of.digest -}}
{{ printf "%s@%s" $name .of.digest }}
{{- else -}}
{{ printf "%s:%s" $name (.root.Values.image.tag | default .root.Chart.AppVersion) }}
{{- end -}}
{{- end -}}

{{/* Where pods may run and how they are pulled. (dict "root" $ "of" VALUES) */}}
{{- define "flock.placement" -}}
{{- with .of.priorityClassName }}
priorityClassName: {{ toYaml . }}
{{- end }}
{{- with .of.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations:
  {{- toYaml . | nindent 0 }}
{{- end }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}

{{/* The ConfigMap or Secret from which agents take the authorities' certificates: source of a volume. */}}
{{- define "flock.authorities" -}}
{{- if and (eq .Values.tls.source "certManager") (not .Values.tls.caBundle) -}}
secret:
  secretName: flock-compiler-ca
  # Not the key beside it.
  items:
  - key: ca.crt
    path: ca.crt
{{- else -}}
configMap:
  name: flock-compiler-ca
{{- end -}}
{{- end -}}

{{/* Security context of a container that does one thing to the node: uid 0 with the capabilities named and no others.
     (dict "add" LIST "seLinuxType" TYPE), each of them or neither */}}
{{- define "flock.nodeContext" -}}
runAsUser: 0
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
  {{- with .add }}
  add: {{ . }}
  {{- end }}
seccompProfile:
  type: RuntimeDefault
{{- include "flock.seLinux" .seLinuxType }}
{{- end -}}

{{/* How install-cni is called, and asked whether it is done. */}}
{{- define "flock.installCni" -}}
- install-cni
- --bin-dir={{ .Values.cni.binDir }}
- --conf-dir={{ .Values.cni.confDir }}
- --on-timeout={{ .Values.cni.onTimeout }}
- --timeout-ms={{ .Values.cni.timeoutMs }}
{{- if eq .Values.mode "leave" }}
- --absent
{{- end }}
{{- with .Values.cni.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The SELinux type of a container, where one is given. */}}
{{- define "flock.seLinux" -}}
{{- with . }}
seLinuxOptions:
  type: {{ . }}
{{- end }}
{{- end -}}

{{/* The mount of the folder of CNI's configurations, or of the one that holds it. */}}
{{- define "flock.cniConf" -}}
{{- if .Values.cni.mountDir -}}
- name: cni-dir
  mountPath: {{ .Values.cni.mountDir }}
{{- else -}}
- name: cni-conf
  mountPath: {{ .Values.cni.confDir }}
{{- end -}}
{{- end -}}

{{/* Returns "true" if agents take calls of the CNI plugin. */}}
{{- define "flock.cni" -}}
{{- or .Values.cni.install .Values.cni.relay -}}
{{- end -}}

{{/* What the schema cannot say. */}}
{{- define "flock.check" -}}
{{- if eq (int .Values.compiler.ports.grpc) (int .Values.compiler.ports.admin) -}}
{{- fail "compiler.ports.grpc and compiler.ports.admin are the same: each is a port of the node" -}}
{{- end -}}
{{- with .Values.tls -}}
{{- if and (eq .source "existingSecret") (not .existingSecret.name) -}}
{{- fail "tls.source existingSecret needs tls.existingSecret.name, a Secret with tls.crt and tls.key" -}}
{{- end -}}
{{- if and (ne .source "existingSecret") .existingSecret.name -}}
{{- fail (printf "tls.existingSecret.name is given, and tls.source is %s: say tls.source: existingSecret" .source) -}}
{{- end -}}
{{- if and (eq .source "self") .caBundle -}}
{{- fail "tls.caBundle is given, and tls.source is self: the compilers publish authorities of their own" -}}
{{- end -}}
{{- end -}}
{{- if .Values.cni.mountDir -}}
{{- range $value := list "binDir" "confDir" -}}
{{- if not (hasPrefix (printf "%s/" (trimSuffix "/" $.Values.cni.mountDir)) (index $.Values.cni $value)) -}}
{{- fail (printf "cni.%s %s is not in cni.mountDir %s, which is mounted in place of it" $value (index $.Values.cni $value) $.Values.cni.mountDir) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

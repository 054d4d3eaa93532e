#!/bin/sh
# Return each Deployment to what it ran before, in the namespace of the context, and wait until it does.
#
#   deploy/kubernetes/roll-back.sh
#
# One that was returned already stays as it is, for before that it ran what it was returned from: where
# this has ended halfway, it goes on when it is run again. One that was not there before has nothing to
# return to; it keeps no other back, but this ends with 1 then. "Before" is the last release but one,
# whatever became of it. For any other: deploy.sh with its image and without-migrations.
set -eu

deployments=$(kubectl get deployments --output name)
# A Deployment keeps what it ran as sets of replicas, and notes on them the revisions that were returned to.
returned=$(kubectl get replicasets --output go-template='
{{- range .items }}{{ if .metadata.annotations }}
{{- if index .metadata.annotations "deployment.kubernetes.io/revision-history" }}
{{- range .metadata.ownerReferences }}{{ .name }}{{ end }} {{ index .metadata.annotations
  "deployment.kubernetes.io/revision" }}
{{ end }}{{ end }}{{ end }}')

for deployment in $deployments; do
  revision=$(kubectl get "$deployment" --output \
    go-template='{{ index .metadata.annotations "deployment.kubernetes.io/revision" }}')
  if printf '%s\n' "$returned" | grep -qxF "${deployment##*/} $revision"; then
    echo "$deployment was returned already, and stays as it is"
  else
    kubectl rollout undo "$deployment" || failed=1
  fi
done
for deployment in $deployments; do kubectl rollout status "$deployment" --timeout 10m; done
exit "${failed:-0}"

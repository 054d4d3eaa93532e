#!/bin/sh
# Bring an overlay into the cluster: what it needs, then the migrations, then the roll-out.
#
#   sh deploy/kubernetes/deploy.sh production
#   sh deploy/kubernetes/deploy.sh production without-migrations    back to an older image
#
# Ends with 1 when the migrations fail, and nothing is rolled out, or when new replicas do not get
# ready; either way the old ones go on serving.
set -eu

overlay=$(dirname "$0")/overlays/${1:?development, staging or production}
migrations=${2:-with-migrations}
serving='app.kubernetes.io/component in (api, worker)'
needed='app.kubernetes.io/component notin (api, worker, migrate)'

manifests=$(mktemp)
trap 'rm -f "$manifests"' EXIT
kubectl kustomize "$overlay" >"$manifests"
namespace=$(sed -n 's/^  namespace: //p' "$manifests" | head -n 1 | tr -d \"\')

# What the migrations have come to: Complete, Failed or, so far, neither.
outcome() {
  kubectl get job migrate --namespace "$namespace" --ignore-not-found \
    --output 'jsonpath={.status.conditions[?(@.status=="True")].type}'
}

kubectl apply --filename "$manifests" --selector "$needed"

if [ "$migrations" = with-migrations ] && grep -q '^kind: Job$' "$manifests"; then
  # A Job cannot be changed.
  kubectl delete job migrate --namespace "$namespace" --ignore-not-found
  kubectl apply --filename "$manifests" --selector app.kubernetes.io/component=migrate
  until outcome | grep -q -w Complete; do
    if outcome | grep -q -w Failed; then
      kubectl logs job/migrate --namespace "$namespace" --tail 20 || true
      echo "The migrations failed: nothing was rolled out" >&2
      exit 1
    fi
    sleep 2
  done
fi

kubectl apply --filename "$manifests" --selector "$serving"
kubectl rollout status deployment --namespace "$namespace" --selector "$serving" --timeout 600s

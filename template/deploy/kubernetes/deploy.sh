#!/bin/sh
# Bring an overlay into the cluster: what it needs, then the migrations, then the roll-out.
#
#   deploy/kubernetes/deploy.sh production
#   deploy/kubernetes/deploy.sh production registry.example.com/service:42
#   deploy/kubernetes/deploy.sh production registry.example.com/service:41 without-migrations
#
# The image is that of the overlay unless one is named; the last form goes back to an older one. The
# frontend, where there is one, has an image of its own: both are named, that one by FRONTEND_IMAGE.
# Ends with 1 when the migrations fail, and nothing is rolled out, or when new replicas do not get ready;
# either way the old ones go on serving. Needs the rights of namespaces/pipeline/role.yaml, and no more.
set -eu

overlays=$(dirname "$0")/overlays
overlay=${1:?development, staging or production}
image=${2:-}
frontend=${FRONTEND_IMAGE:-}
migrations=${3:-with-migrations}
serving='app.kubernetes.io/component in (api, worker, frontend)'
needed='app.kubernetes.io/component notin (api, worker, frontend, migrate)'

refuse() {
  echo "$*" >&2
  exit 1
}

test -d "$overlays/$overlay" || refuse "There is no overlay $overlay in $overlays"
for each in "$image" "$frontend"; do
  case ${each:+${each##*/}} in
    "" | ?*:?*) ;;
    *) refuse "$each has neither tag nor digest: name one, as in $each:42" ;;
  esac
done
case $migrations in
  with-migrations | without-migrations) ;;
  *) refuse "$migrations: with-migrations or without-migrations" ;;
esac
if grep -q '^SECRET_KEY=[[:space:]]*$' "$overlays/$overlay/secrets.env" 2>/dev/null; then
  refuse "SECRET_KEY is empty in $overlays/$overlay/secrets.env: openssl rand -hex 32"
fi

manifests=$(mktemp)
chosen=$(mktemp -d "$overlays/deploying-XXXXXX")
trap 'rm -rf "$manifests" "$chosen"' EXIT
# Not every shell does at a signal what it does at its end.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# What the overlay calls an image of the base.
called() {
  awk -v image="$1" '
    { gsub(/["\047]/, "") }
    /^ *- / { name = ""; called = ""; sub(/-/, " ") }
    $1 == "name:" { name = $2 }
    $1 == "newName:" { called = $2 }
    name == image && called != "" { print called; exit }
  ' "$overlays/$overlay/kustomization.yaml"
}

# Put an image in the place of the one that the overlay chooses for an image of the base.
replace() {
  test -n "$2" || return 0
  test -n "$(called "$1")" || refuse "The overlay $overlay has no image $1 that $2 could replace"
  test "$(called service)" != "$(called frontend)" ||
    refuse "The overlay $overlay gives service and frontend one newName: $2 would replace both"
  printf '  - name: "%s"\n' "$(called "$1")"
  case $2 in
    *@*) printf '    newName: "%s"\n    digest: "%s"\n' "${2%@*}" "${2#*@}" ;;
    *) printf '    newName: "%s"\n    newTag: "%s"\n' "${2%:*}" "${2##*:}" ;;
  esac
}

if [ -n "$(called frontend)" ]; then
  # The overlay's own tag may be years old, and pages fit the API of their release.
  case ${image:+api}${frontend:+frontend} in
    api) refuse "The overlay $overlay has a frontend: name its image, too (FRONTEND_IMAGE=...)" ;;
    frontend) refuse "The overlay $overlay needs the API's image as well as $frontend" ;;
  esac
fi

{
  echo "resources: [../$overlay]"
  echo "images:"
  replace service "$image"
  replace frontend "$frontend"
} >"$chosen/kustomization.yaml"
kubectl kustomize "$chosen" >"$manifests"
namespace=$(sed -n 's/^  namespace: //p' "$manifests" | head -n 1 | tr -d \"\')

if ! said=$(kubectl get namespace "$namespace" --output name 2>&1); then
  case $said in
    *NotFound* | *Forbidden*)
      said="There is no namespace $namespace, or not for this account: an administrator runs"
      said="$said kubectl apply --kustomize $(dirname "$0")/namespaces/$overlay, once"
      ;;
  esac
  refuse "$said"
fi

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
      refuse "The migrations failed: nothing was rolled out"
    fi
    sleep 2
  done
fi

kubectl apply --filename "$manifests" --selector "$serving"
kubectl rollout status deployment --namespace "$namespace" --selector "$serving" --timeout 600s

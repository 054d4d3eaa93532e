#!/bin/sh
# Print a kubeconfig for the pipeline of an environment: it may do what pipeline/role.yaml says, in that
# namespace. By an administrator of the cluster, after `kubectl apply --kustomize` of the same name.
#
#   deploy/kubernetes/namespaces/kubeconfig.sh production >kubeconfig
#   deploy/kubernetes/namespaces/kubeconfig.sh production 24h >kubeconfig
#
# It holds for 90 days unless a duration is named; a cluster may allow less.
set -eu

environment=${1:?staging or production}
duration=${2:-2160h}

namespace=$(kubectl kustomize "$(dirname "$0")/$environment" | sed -n 's/^  namespace: //p' | sort -u)
cluster=$(kubectl config view --minify --raw --flatten --output 'jsonpath={.clusters[0].cluster}')
token=$(kubectl create token pipeline --namespace "$namespace" --duration "$duration")

cat <<END
apiVersion: v1
kind: Config
clusters:
  - name: cluster
    cluster: $cluster
users:
  - name: pipeline
    user:
      token: $token
contexts:
  - name: $environment
    context:
      cluster: cluster
      user: pipeline
      namespace: $namespace
current-context: $environment
END

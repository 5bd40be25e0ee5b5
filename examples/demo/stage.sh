# What the demo stands on: it builds what is missing, starts a control plane and the operator, and takes all of it away at
# the end. It ends only what it started.

work='' cluster_pid='' operator_pid='' borrowed='' started=$SECONDS

# build: the programs on PATH. Everything is cached, so only the first time takes long.
build() {
    local bin
    command -v cargo >/dev/null || fail "Rust is needed, and there is no \`cargo\` on PATH: install it from https://rustup.rs"
    bin=$(tests/cluster/build) || fail "the control plane could not be built."
    if [ -z "${DOMICILE_BIN:-}" ]; then
        say "Building the operator: cargo build (3 to 6 minutes the first time, nothing when it is built)." >&2
        cargo build --locked --bin domicile || fail "the operator could not be built."
        DOMICILE_BIN=${CARGO_TARGET_DIR:-$PWD/target}/debug
    fi
    tools=$bin:$DOMICILE_BIN
    export PATH="$tools:$PATH"
    work=$(mktemp -d "${TMPDIR:-/tmp}/domicile-demo.XXXXXX")
    export HELM_CACHE_HOME=$work/helm HELM_CONFIG_HOME=$work/helm HELM_DATA_HOME=$work/helm KUBECACHEDIR=$work/kube
}

# raise_cluster: a cluster of our own, or the one that DOMICILE_TEST_KUBECONFIG names.
raise_cluster() {
    if [ -n "${DOMICILE_TEST_KUBECONFIG:-}" ]; then
        export KUBECONFIG=$DOMICILE_TEST_KUBECONFIG
        borrow_cluster
    else
        nodes=$work/nodes.yaml
        cp examples/demo/nodes.yaml "$nodes"
        start_cluster
    fi
    quietly "the fleet" kubectl wait --for=condition=Ready --timeout=60s node/{shanghai,beijing,frankfurt}-{a,b} node/hongkong-a
    quietly "Hong Kong's region" kubectl label node hongkong-a topology.kubernetes.io/region=cn-hongkong --overwrite
    # Its pod waits for the ServiceAccount that a new namespace is given.
    await 30 "the surroundings" kubectl apply -f examples/demo/surroundings.yaml
}

start_cluster() {
    local line with_parent=true
    # With KEEP the cluster outlives this shell.
    [ -z "${KEEP:-}" ] || with_parent=false
    exec {ready}< <(exec setsid testcluster up --dir "$work/cluster" --keep --nodes "$nodes" --audit-log \
        --die-with-parent=$with_parent 2>"$work/cluster.log")
    cluster_pid=$!
    line=''
    read -r -t 120 line <&$ready || true
    [[ $line == "READY kubeconfig="* ]] || fail "the control plane did not start: $(tail -n 5 "$work/cluster.log")"
    line=${line#READY kubeconfig=}
    export KUBECONFIG=${line%% dir=*}
}

# borrow_cluster checks that a cluster of others can tell the story.
borrow_cluster() {
    nodes=${DOMICILE_TEST_NODES:-}
    kubectl version >/dev/null 2>&1 || fail "no cluster answers at DOMICILE_TEST_KUBECONFIG=$KUBECONFIG."
    kubectl get mutatingadmissionpolicies.v1.admissionregistration.k8s.io >/dev/null 2>&1 ||
        fail "the story needs Kubernetes 1.36 or later, where MutatingAdmissionPolicy is served; this cluster does not serve it."
    kubectl get node $(sed -n 's/.*{name: \([^,]*\),.*/\1/p' examples/demo/nodes.yaml) >/dev/null 2>&1 ||
        fail "the story needs the nodes of examples/demo/nodes.yaml: testcluster up --nodes FILE brings them, and DOMICILE_TEST_NODES=FILE lets the demo add more."
    helm status domicile -n domicile-system >/dev/null 2>&1 &&
        fail "Domicile is installed in this cluster already, and the demo would take it away at the end."
    borrowed=yes
}

# add_nodes FILE: lets more machines join, where the fleet is ours.
add_nodes() {
    [ -n "$nodes" ] || return 1
    cp "$nodes" "$work/nodes.before"
    cat "$nodes" "$1" >"$nodes.new"
    mv "$nodes.new" "$nodes"
}

# operator_rights: a kubeconfig with the chart's ServiceAccount and nobody else in it.
operator_rights() {
    local config=$work/operator.kubeconfig other
    kubectl config view --raw --flatten --minify >"$config"
    other=$(kubectl --kubeconfig "$config" config view -o jsonpath='{.users[0].name}')
    chmod 600 "$config"
    kubectl --kubeconfig "$config" config set-credentials domicile \
        --token "$(kubectl create token domicile -n domicile-system --duration=24h)"
    kubectl --kubeconfig "$config" config set-context --current --user=domicile
    kubectl --kubeconfig "$config" config delete-user "$other"
}

# start_operator: as a process beside the cluster. It dies with the demo, unless KEEP says to leave it.
start_operator() {
    local dies=(setpriv --pdeathsig KILL)
    [ -z "${KEEP:-}" ] && command -v setpriv >/dev/null || dies=()
    KUBECONFIG=$work/operator.kubeconfig setsid ${dies[@]+"${dies[@]}"} domicile controller --listen 127.0.0.1:0 \
        >>"$work/operator.log" 2>&1 </dev/null &
    operator_pid=$!
    disown # the shell need not say how it ended
}

operator_is_gone() {
    await 10 "the operator still runs" eval "! kill -0 $operator_pid"
    operator_pid=''
}

# strike: what is done when the demo ends, however it ends.
strike() {
    local code=$?
    trap - EXIT
    trap '' INT TERM HUP
    set +e
    if [ $code = 0 ] && [ -n "${KEEP:-}" ]; then
        keep
        exit 0
    fi
    [ $code = 0 ] || [ $code -ge 128 ] || [ -z "$work" ] || look_closer
    [ -z "$borrowed" ] || return_cluster >>"$work/return.log" 2>&1
    [ -z "$operator_pid" ] || end "$operator_pid"
    [ -z "$cluster_pid" ] || end "$cluster_pid"
    if [ $code = 0 ] || [ $code -ge 128 ]; then
        [ -z "$work" ] || rm -rf "$work"
    elif [ -n "$work" ]; then
        # Logs stay, secrets and data do not.
        rm -rf "$work"/cluster/{etcd,pki,users} "$work/operator.kubeconfig" "$work/helm"
        printf '\nLogs: %s/{state.yaml,operator.log,cluster.log,cluster/logs,cluster/audit.log}\n' "$work" >&3
    fi
    exit $code
}

# look_closer: what a reader of a failure wants to know first, while the cluster still answers.
look_closer() {
    [ -z "${DEMO_QUIET:-}" ] || tail -n 60 "$work/story.log" >&3
    [ -n "$cluster_pid$borrowed" ] || return
    kubectl get dres,dc,nodes,ns,pods,pvc,pv,netpol,events -A -o yaml >"$work/state.yaml" 2>&1
    {
        printf '\nWhat DataResidency mainland says:\n'
        kubectl get dres mainland -o jsonpath='{range .status.conditions[*]}  {.type}={.status}: {.message}{"\n"}{end}' 2>&1
        printf 'What the operator said last:\n'
        tail -n 5 "$work/operator.log" 2>&1 | sed 's/^/  /'
    } >&3
}

end() {
    kill "$1" 2>/dev/null
    local limit=$((SECONDS + 20))
    while kill -0 "$1" 2>/dev/null; do
        [ $SECONDS -lt $limit ] || kill -9 "$1"
        sleep 0.1
    done
}

# return_cluster: a borrowed cluster is given back without Domicile. A residency's finalizer needs the operator.
return_cluster() {
    [ -n "$operator_pid" ] || [ ! -f "$work/operator.kubeconfig" ] || start_operator
    kubectl delete namespace vehicle-data charging analytics --ignore-not-found --timeout=120s
    kubectl delete dres,dc --all --timeout=60s
    helm uninstall domicile -n domicile-system --wait
    kubectl delete -f examples/demo/surroundings.yaml --ignore-not-found
    kubectl delete -f crds -f <(printf 'apiVersion: v1\nkind: Namespace\nmetadata: {name: domicile-system}\n') --ignore-not-found --timeout=120s
    kubectl label node hongkong-a topology.kubernetes.io/region=cn-hongkong --overwrite
    [ ! -f "$work/nodes.before" ] || cp "$work/nodes.before" "$nodes"
}

# keep: everything goes on, and the reader is told how to use and to end it.
keep() {
    local pids=$operator_pid${cluster_pid:+ $cluster_pid}
    cat >&3 <<END

${bold}Everything goes on running (KEEP=1). In another shell:${plain}

  export KUBECONFIG=$KUBECONFIG
  export PATH="$tools:\$PATH"
  kubectl get dres,dc; kubectl get events -A; kubectl describe ns vehicle-data
  tail -f $work/operator.log

${bold}End it:${plain}

  kill $pids; rm -rf $work
END
    [ -z "$borrowed" ] || say "Domicile stays in that cluster; the notes of the chart say how to take it away." >&3
}

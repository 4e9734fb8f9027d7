"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler, in the lab's namespace."""

from __future__ import annotations

from pathlib import Path

from lab import api, network, processes
from lab.binaries import find
from lab.certificates import API, KUBECONFIG, PKI
from lab.network import HOST, SERVICES
from lab.paths import STATE
from lab.processes import Argv, Service, answers

AUDIT = STATE / "audit.log"
_ETCD = "http://127.0.0.1:2379"
_FAST = ["--kube-api-qps=500", "--kube-api-burst=1000"]
"""The default of 20 to 50 requests a second is for many clients; here there is one of each."""


def up() -> None:
    """The control plane answers, and has what every cluster of the first operator has."""
    processes.start([_etcd(), _apiserver()])
    processes.start([_controller_manager(), _scheduler()])
    with network.inside():
        priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 100000}
        priority |= {"metadata": {"name": "gpu-workload"}, "description": "Workloads that hold a share of a GPU"}
        api.call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", priority, accept=(409,))


def audited() -> int:
    """How many requests of the accounts in audit.yaml the API server has answered."""
    return len(AUDIT.read_text().splitlines()) if AUDIT.exists() else 0


def _etcd() -> Service:
    argv: Argv = [
        find("etcd"),
        f"--data-dir={STATE / 'etcd'}",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]
    return Service("etcd", argv, answers(f"{_ETCD}/health"))


def _apiserver() -> Service:
    argv: Argv = [
        find("kube-apiserver"),
        f"--etcd-servers={_ETCD}",
        "--bind-address=0.0.0.0",
        "--secure-port=6443",
        f"--advertise-address={HOST}",
        f"--tls-cert-file={PKI / 'server.crt'}",
        f"--tls-private-key-file={PKI / 'server.key'}",
        f"--client-ca-file={PKI / 'ca.crt'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={PKI / 'service-accounts.key'}",
        f"--service-account-signing-key-file={PKI / 'service-accounts.key'}",
        f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
        f"--kubelet-client-certificate={PKI / 'admin.crt'}",
        f"--kubelet-client-key={PKI / 'admin.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={Path(__file__).with_name('audit.yaml')}",
        f"--audit-log-path={AUDIT}",
    ]
    return Service("kube-apiserver", argv, answers(f"{API}/readyz"))


def _controller_manager() -> Service:
    argv: Argv = [
        find("kube-controller-manager"),
        f"--kubeconfig={KUBECONFIG}",
        f"--service-account-private-key-file={PKI / 'service-accounts.key'}",
        f"--root-ca-file={PKI / 'ca.crt'}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        # On a busy machine thousands of simulated nodes miss the default of 50 s, and flap.
        "--node-monitor-grace-period=5m",
        *_FAST,
    ]

    def works() -> bool:
        """Pods need the default service account, which a controller makes."""
        account = api.call("GET", "/api/v1/namespaces/default/serviceaccounts/default", accept=(404,))
        return bool(account["kind"] == "ServiceAccount")

    return Service("kube-controller-manager", argv, works)


def _scheduler() -> Service:
    argv: Argv = [find("kube-scheduler"), f"--kubeconfig={KUBECONFIG}", "--leader-elect=false", *_FAST]
    return Service("kube-scheduler", argv, answers("https://127.0.0.1:10259/healthz"))

"""A private certificate authority made with the openssl command: one per test session, in a temporary directory."""
from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from .wire import Tls


@dataclass(frozen=True)
class Certificates:
    """server.*: for localhost and 127.0.0.1. elsewhere.*: same authority, another host name. stranger.*: another
    authority. client.*: accepted by a server that asks for client certificates."""
    directory: Path

    def path(self, name: str) -> str:
        return str(self.directory / name)

    @property
    def client(self) -> Tls:
        return Tls(self.path("ca.crt"), self.path("client.crt"), self.path("client.key"))


def _openssl(directory: Path, *args: str) -> None:
    done = subprocess.run(["openssl", *args], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(args)}: {done.stderr}")


def _authority(directory: Path, name: str) -> None:
    _openssl(directory, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
             "30", "-subj", f"/CN={name} test authority", "-keyout", f"{name}.key", "-out", f"{name}.crt")


def _leaf(directory: Path, name: str, authority: str, alt_names: str) -> None:
    (directory / f"{name}.ext").write_text(f"subjectAltName={alt_names}\n")
    _openssl(directory, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
             f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    _openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key",
             "-CAcreateserial", "-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.crt")


def make(directory: Path) -> Certificates:
    directory.mkdir(parents=True, exist_ok=True)
    _authority(directory, "ca")
    _authority(directory, "other-ca")
    _leaf(directory, "server", "ca", "DNS:localhost,IP:127.0.0.1")
    _leaf(directory, "elsewhere", "ca", "DNS:elsewhere.test")
    _leaf(directory, "client", "ca", "DNS:client.test")
    _leaf(directory, "stranger", "other-ca", "DNS:localhost,IP:127.0.0.1")
    return Certificates(directory)

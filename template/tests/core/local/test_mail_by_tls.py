"""Mails to a server that wants a password: only through TLS, and to nobody else."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from app.config import Settings
from app.core.mail.delivery import delivery
from tests.core.mailbox import Mailbox
from tests.core.test_mail import MAIL, at


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 with its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.public_bytes(Encoding.PEM) + secret)
    return path


@pytest.fixture
def served(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_password_goes_only_through_tls(
    settings: Settings,
    served: ssl.SSLContext,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    tls = {"ssl_context": served} if scheme == "smtps" else {"tls_context": served}
    given: list[object] = []

    def let_in(*known: object) -> AuthResult:
        given.append(known[-1])
        return AuthResult(success=True)

    login = {"authenticator": let_in, "auth_require_tls": scheme == "smtp"}
    with Mailbox().running(**tls, **login) as mailbox:
        url = f"{scheme}://user:p%40ss@127.0.0.1:{mailbox.port}"
        deliver = delivery(at(settings, url))
        with pytest.raises(ssl.SSLCertVerificationError):
            deliver(MAIL)  # nobody vouches for the server yet
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        deliver(MAIL)
        assert mailbox.count(MAIL.to) == 1
    assert given == [LoginPassword(b"user", b"p@ss")]

"""Issue tokens to a service that runs elsewhere: `python -m tests.core.issuing`.

Prints, as one line of JSON, a token and the variables with which the service believes this issuer,
in production too. Lives until its standard input ends.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.core.issuing.provider import issuing


def certify(file: Path) -> Path:
    """Write a key and its certificate for loopback: production believes no issuer without."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    address = x509.IPAddress(ip_address("127.0.0.1"))
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


def main() -> None:
    with TemporaryDirectory() as directory:
        certificate = certify(Path(directory) / "issuer.pem")
        with issuing(certificate) as issuer:
            variables = {**issuer.variables, "SSL_CERT_FILE": str(certificate)}
            answer = {
                "variables": variables,
                "token": issuer.token("ada", tenant="acme", roles=["admin"]),
                "other_token": issuer.token("bob", tenant="umbrella"),
            }
            sys.stdout.write(f"{json.dumps(answer)}\n")
            sys.stdout.flush()
            sys.stdin.read()


if __name__ == "__main__":
    main()

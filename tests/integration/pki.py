"""Certificate authorities and certificates that `dkimctl init` would not make: wrong ones, and for other callers."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def _pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _builder(subject, issuer, key, days):
    now = datetime.datetime.utcnow()
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(now + datetime.timedelta(days=days)))


def self_signed(dns):
    """(certificate, key), both PEM, of a client that no CA issued, with these names: it says nothing of CAs."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    builder = _builder(name, name, key, 7).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(one) for one in dns]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), _pem(key)


class Authority:
    """A CA of its own."""

    def __init__(self, name="Test CA", renews=None, issuer=None, path_length=0):
        """`renews`: it is that authority, with its key and a new certificate, in which the name is another kind of string.
        `issuer`: the authority above it; none: it is a root. `path_length`: how many may be below it, one under the other."""
        self._key = renews._key if renews else ec.generate_private_key(ec.SECP256R1())
        kind = _ASN1Type.PrintableString if renews else _ASN1Type.UTF8String
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name, kind)])
        builder = _builder(self._name, issuer._name if issuer else self._name, self._key, 30)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        self._certificate = builder.sign((issuer or self)._key, hashes.SHA256())
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def itself(self):
        """(certificate, key), both PEM, of the authority's own."""
        return self.pem, _pem(self._key)

    def issue(self, *, name="client", dns=(), uris=(), days=7, server=False):
        """(certificate, key), both PEM, for a client (or server) with this CN and these SANs. days < 0: expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        names = [x509.DNSName(name) for name in dns] + [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = _builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), self._name, key, days)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM), _pem(key)

    def crl(self, certificates, until=None, days_old=1):
        """A revocation list (PEM) that names these certificates (PEM); good for a day, or until then."""
        now = datetime.datetime.utcnow()
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(now - datetime.timedelta(days=days_old))
        builder = builder.next_update(until or now + datetime.timedelta(days=1))
        for pem in certificates:
            serial = x509.load_pem_x509_certificate(pem).serial_number
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

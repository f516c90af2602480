"""What ``omnifm deploy init`` writes: all that is needed, secrets for their owner only, and never over anything."""

from __future__ import annotations

import shutil
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from small_run import omnifm

from omnifm.deploy.deployment_plan import (
    ClientSide,
    DeploymentPlan,
    ServerSide,
    make_deployment_plan,
    read_deployment_plan,
    read_side,
)
from omnifm.deploy.provision import add_clients, provision, renew_certificates, replace_keys
from omnifm.engines.flower import certificates as made
from omnifm.engines.flower.secure_aggregation.credentials import read_credentials
from omnifm.utils.errors import DeploymentError

SERVERS = ["fl.example.org", "10.0.0.5"]
SECRETS = {
    "ca/ca.key",
    "server/server.key",
    "operator/operator.key",
    "hospitals/A/hospital.key",
    "hospitals/B/hospital.key",
}


def plan(**changes: Any) -> DeploymentPlan:
    return make_deployment_plan({"servers": SERVERS, "hospitals": ["A", "B"], **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    provision(tmp_path / "new", plan())
    return tmp_path / "new"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_command_writes_it(tmp_path: Path) -> None:
    place = tmp_path / "new"
    outcome = omnifm("deploy", "init", place, "--server", "fl.example.org", "--hospital", "A", "--hospital", "B")
    assert outcome.status == 0, outcome.text
    assert "STEPS.md" in outcome.text
    assert read_deployment_plan(place).hospitals == ("A", "B")


def test_every_machine_gets_its_files(folder: Path) -> None:
    files = {
        name: sorted(path.name for path in (folder / name).iterdir()) for name in ("server", "operator", "hospitals/A")
    }
    assert files == {
        "server": [
            "ca.crt",
            "deploy.toml",
            "nginx.conf",
            "omnifm-server.service",
            "server.crt",
            "server.key",
            "start.sh",
        ],
        "operator": ["app", "ca.crt", "deploy.toml", "operator.crt", "operator.key"],
        "hospitals/A": [
            "ca.crt",
            "client.toml",
            "deploy.toml",
            "hospital.crt",
            "hospital.key",
            "omnifm-hospital.service",
            "start.sh",
        ],
    }
    assert sorted(path.name for path in (folder / "keys").iterdir()) == ["A.pub", "B.pub"]


def test_secrets_are_for_their_owner_only(folder: Path) -> None:
    secret = {name for name in contents(folder) if (folder / name).stat().st_mode & 0o077 == 0}
    assert secret == SECRETS
    assert stat.S_IMODE((folder / "ca/ca.key").stat().st_mode) == 0o600
    texts = [data for name, data in contents(folder).items() if name not in SECRETS]
    assert not [text for text in texts if b"PRIVATE KEY" in text]


def test_no_machine_gets_anothers_secret(folder: Path) -> None:
    keys = [(folder / name).read_bytes() for name in SECRETS]
    assert len(set(keys)) == len(keys)


def test_a_hospitals_two_keys_belong_together(folder: Path) -> None:
    private = load_ssh_private_key((folder / "hospitals/A/hospital.key").read_bytes(), None)
    assert private.public_key() == load_ssh_public_key((folder / "keys/A.pub").read_bytes())


def test_the_servers_certificate_has_the_right_names(folder: Path) -> None:
    certificate = x509.load_pem_x509_certificate((folder / "server/server.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["fl.example.org", "localhost"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5", "127.0.0.1"]
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate((folder / "ca/ca.crt").read_bytes()))


def test_server_and_operator_cannot_stand_in_for_each_other(folder: Path) -> None:
    def purposes(name: str) -> list[Any]:
        certificate = x509.load_pem_x509_certificate((folder / name).read_bytes())
        return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)

    assert purposes("server/server.crt") == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert purposes("operator/operator.crt") == [ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_finds_the_certificates_strictly_right(folder: Path) -> None:
    certificates = [str(folder / "server/server.crt"), str(folder / "operator/operator.crt")]
    command = ["openssl", "verify", "-x509_strict", "-CAfile", str(folder / "ca/ca.crt"), *certificates]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern")  # Flower's
def test_the_app_is_thin_and_flower_takes_it(folder: Path) -> None:
    from flwr.cli.build import build_fab_from_disk
    from flwr.cli.config_utils import load_and_validate

    app = folder / "operator/app"
    assert sorted(path.name for path in app.iterdir()) == ["LICENSE", "pyproject.toml"]
    config, _ = load_and_validate(app / "pyproject.toml", check_module=False)
    components = config["tool"]["flwr"]["app"]["components"]
    assert components["serverapp"] == "omnifm.engines.flower.server_app:app"
    assert components["clientapp"] == "omnifm.engines.flower.client_app:app"
    assert build_fab_from_disk(app)


def test_the_scripts_are_scripts(folder: Path) -> None:
    for script in (folder / "server/start.sh", folder / "hospitals/A/start.sh"):
        assert script.stat().st_mode & 0o777 == 0o755
        assert subprocess.run(["sh", "-n", script], check=False).returncode == 0


def test_the_units_are_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    folder = tmp_path / "new"
    provision(folder, plan(etc=str(folder)))
    (folder / "hospitals/A").rename(folder / "hospital")
    units = [folder / "server/omnifm-server.service", folder / "hospital/omnifm-hospital.service"]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "omnifm-" in line] == []


def test_a_hospitals_settings_can_be_read(folder: Path) -> None:
    from omnifm.engines.flower.client_config import read_client_config

    assert read_client_config(folder / "hospitals/A/client.toml").name == "A"


def test_a_policy_permits_the_experiment_and_a_new_hospital_gets_the_same(tmp_path: Path) -> None:
    experiment = tmp_path / "brain.toml"
    experiment.write_text(
        'name = "brain\\u001b"\nalgorithm = "ditto"\nseed = 7\n[training]\nepochs = 3\n[deploy]\ndeadline = 120.0\n'
    )
    place = tmp_path / "new"
    command = ("deploy", "init", place, "--server", "fl.example.org", "--hospital", "A", "--experiment", experiment)
    assert omnifm(*command).status == 0
    add_clients(place, ["B"])
    texts = [(place / "hospitals" / name / "client.toml").read_text() for name in "AB"]
    assert texts[0].replace('"A"', '"B"').replace("What A", "What B") == texts[1]
    assert "the experiment brain, and nothing more" in texts[0]
    content = tomllib.loads(texts[0])
    assert content["data"]["seed"] == 7
    policy = content["policy"]
    assert (policy["algorithms"], policy["epochs"], policy["minutes"]) == (["ditto"], 6, 2.0)
    assert (policy["upload"], policy["models"]) == (["weights"], [])


@pytest.mark.parametrize("setting", ["[bank]\nmin_cluster = 4", "[data]\nanswer_patients = 4"])
def test_no_policy_is_written_that_protects_fewer_than_five_patients(tmp_path: Path, setting: str) -> None:
    experiment = tmp_path / "open.toml"
    experiment.write_text(setting)
    command = ("deploy", "init", tmp_path / "new", "--server", "fl.example.org", "--hospital", "A")
    outcome = omnifm(*command, "--experiment", experiment)
    assert outcome.status == 1
    assert "= 4, but by default a hospital shares nothing of fewer than 5 patients" in " ".join(outcome.text.split())
    assert not (tmp_path / "new").exists()


def test_without_an_experiment_the_policy_is_not_open(folder: Path) -> None:
    policy = tomllib.loads((folder / "hospitals/A/client.toml").read_text())["policy"]
    assert (policy["tasks"], policy["algorithms"]) == (["classification"], ["omnifm", "fedavg"])
    assert "*" not in {name for key in ("tasks", "algorithms", "models") for name in policy[key]}


def test_a_hospitals_service_is_bounded_in_memory(folder: Path) -> None:
    unit = (folder / "hospitals/A/omnifm-hospital.service").read_text()
    assert "MemoryMax=80%" in unit
    assert "OOMPolicy=continue" in unit


def test_each_side_knows_itself(folder: Path) -> None:
    server, hospital = read_side(folder / "server"), read_side(folder / "hospitals/B")
    assert isinstance(server, ServerSide)
    assert server.servers == tuple(SERVERS)
    assert isinstance(hospital, ClientSide)
    assert (hospital.name, hospital.server, hospital.port) == ("B", "fl.example.org", 9092)
    with pytest.raises(DeploymentError, match=r"side 'server': give that of one side \(operator\)"):
        read_side(folder / "server", "operator")
    with pytest.raises(DeploymentError, match="a whole deployment: give that of one side"):
        read_side(folder)
    with pytest.raises(DeploymentError, match="is one side of a deployment"):
        read_deployment_plan(folder / "server")


def test_nothing_is_overwritten(folder: Path) -> None:
    before = contents(folder)
    with pytest.raises(DeploymentError, match="exists already and is not changed: give a new folder"):
        provision(folder, plan())
    assert contents(folder) == before
    assert not list(folder.parent.glob(".*"))


def test_a_file_of_the_name_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("mine")
    with pytest.raises(DeploymentError, match="exists already"):
        provision(tmp_path / "new", plan())
    assert (tmp_path / "new").read_text() == "mine"


def test_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("omnifm.deploy.provision.write_app", full)
    with pytest.raises(OSError, match="No space"):
        provision(tmp_path / "new", plan())
    assert not list(tmp_path.iterdir())


def test_a_hospital_is_added(folder: Path) -> None:
    before = contents(folder)
    add_clients(folder, ["C"])
    after = contents(folder)
    assert read_deployment_plan(folder).hospitals == ("A", "B", "C")
    assert {name for name in after if name not in before} == {
        "keys/C.pub",
        *(f"hospitals/C/{name.rpartition('/')[2]}" for name in before if name.startswith("hospitals/A/")),
    }
    assert {name for name in before if after[name] != before[name]} == {"deploy.toml"}
    with pytest.raises(DeploymentError, match="Hospital 'C' is named twice"):
        add_clients(folder, ["C"])


def test_a_hospital_gets_a_new_key(folder: Path) -> None:
    before = contents(folder)
    replace_keys(folder, ["A"])
    after = contents(folder)
    assert {name for name in after if after[name] != before[name]} == {
        "hospitals/A/hospital.key",
        "hospitals/A/hospital.crt",
        "keys/A.pub",
    }
    test_a_hospitals_two_keys_belong_together(folder)
    test_secrets_are_for_their_owner_only(folder)
    with pytest.raises(DeploymentError, match=r"no hospital 'a' in .*Did you mean 'A'\?"):
        replace_keys(folder, ["a"])


def test_certificates_are_renewed(folder: Path) -> None:
    before = contents(folder)
    renew_certificates(folder, ["fl.example.org", "other.example.org"])
    after = contents(folder)
    changed = {name for name in after if after[name] != before[name]}
    certificates = {"server/server.crt", "server/server.key", "operator/operator.crt", "operator/operator.key"}
    assert changed == {*certificates, "deploy.toml", "server/deploy.toml", "server/nginx.conf"}
    assert set(before) == set(after)
    certificate = x509.load_pem_x509_certificate(after["server/server.crt"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["fl.example.org", "other.example.org", "localhost"]
    assert tomllib.loads(after["server/deploy.toml"].decode())["servers"] == ["fl.example.org", "other.example.org"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"servers": []}, "Name the server"),
        ({"servers": ["https://x.org"]}, "'https://x.org' is neither a host name nor an IP address"),
        ({"servers": ["fl.example.org:9092"]}, "takes no port"),
        ({"servers": ["10.0.0"]}, "neither a host name nor an IP address"),
        ({"hospitals": ["A/../B"]}, "Hospital 'A/../B': use up to 32 letters"),
        ({"hospitals": ["A", "A"]}, "Hospital 'A' is named twice"),
        ({"ports": {"superlink": 9092}}, "the three ports must differ"),
        ({"ports": {"superlink": 0}}, r"ports\.superlink: must be 1 or more"),
        ({"state": "/var/lib/my runs"}, "must be an absolute path without spaces"),
        ({"etc": "etc"}, "must be an absolute path"),
    ],
)
def test_a_plan_that_does_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DeploymentError, match=message):
        plan(**changes)


def test_without_flower_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnifm.deploy.commands.find_spec", lambda name: None)
    outcome = omnifm("deploy", "check", tmp_path)
    assert outcome.status == 1
    assert "pip install 'omnifm[flower]'" in outcome.text


def test_hospitals_are_certified_for_their_keys(folder: Path) -> None:
    assert read_credentials(folder / "hospitals/A", "A").name == "A"
    with pytest.raises(DeploymentError, match=r"is not that of the hospital 'B'.*`omnifm deploy renew` makes"):
        read_credentials(folder / "hospitals/A", "B")
    certificate = x509.load_pem_x509_certificate((folder / "hospitals/A/hospital.crt").read_bytes())
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.CLIENT_AUTH not in purposes  # nginx lets no hospital in as an operator
    replace_keys(folder, ["A"])
    assert read_credentials(folder / "hospitals/A", "A").certificate != certificate


def test_certificates_of_hospitals_are_made_of_their_public_keys(folder: Path) -> None:
    private, public = made.make_client_key()  # a key that the hospital has made itself
    (folder / "keys/A.pub").write_bytes(public)
    (folder / "hospitals/B/hospital.crt").unlink()  # as in a deployment that is older than they are
    renew_certificates(folder, [])
    assert read_credentials(folder / "hospitals/B", "B").name == "B"
    with pytest.raises(DeploymentError, match=r"hospital\.crt is not of hospital\.key"):
        read_credentials(folder / "hospitals/A", "A")
    (folder / "hospitals/A/hospital.key").write_bytes(private)
    assert read_credentials(folder / "hospitals/A", "A").name == "A"
    (folder / "keys/A.pub").write_bytes(b"ssh-ed25519 nothing")
    with pytest.raises(DeploymentError, match=r"The public key .*keys/A.pub cannot be certified"):
        renew_certificates(folder, [])

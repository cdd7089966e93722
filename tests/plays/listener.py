"""A false server: it stands where a hall stood, has another key, and notes what it is sent."""

import subprocess
import sys
from pathlib import Path


class Listener:
    """Listens by TLS with a certificate of its own, and prints what comes."""

    def __init__(self, port: int, certificate: Path, key: Path) -> None:
        code = (
            "import asyncio, ssl, sys\n"
            "async def note(reader, writer):\n"
            "    print((await reader.read(65536)).hex(), flush=True)\n"
            "    writer.close()\n"
            "async def main():\n"
            "    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n"
            f"    context.load_cert_chain({str(certificate)!r}, {str(key)!r})\n"
            f"    server = await asyncio.start_server(note, '127.0.0.1', {port}, ssl=context)\n"
            "    print('ready', flush=True)\n"
            "    await server.serve_forever()\n"
            "asyncio.run(main())\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def end(self) -> str:
        self._process.terminate()
        said, _ = self._process.communicate(timeout=10)
        return said


def find_pair(folder: Path) -> tuple[Path, Path]:
    """Return certificate and key that a hall made for itself."""
    pems = list((folder / "tls").iterdir())
    certificate = next(one for one in pems if b"BEGIN CERTIFICATE" in one.read_bytes())
    key = next(one for one in pems if b"PRIVATE KEY" in one.read_bytes())
    return certificate, key

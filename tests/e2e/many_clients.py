"""Many followers in one process, each over its own raw connection.

Arguments: the server's host and port, the key. stdin: a JSON list of [run id, Last-Event-ID]. Prints `open` when every
stream is open, and at the end a JSON list of [[event ids], how the stream ended].
"""

import asyncio
import json
import resource
import sys


class Follower:
    def __init__(self, run_id, after):
        self.run_id, self.after = run_id, after
        self.ids = []
        self.opened = asyncio.Event()

    async def follow(self, host, port, key):
        """Read chunks (RFC 9112, 7.1) until the last one, which is empty."""
        reader, writer = await asyncio.open_connection(host, port)
        head = f"GET /runs/{self.run_id}/stream HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {key}\r\n"
        writer.write(f"{head}Last-Event-ID: {self.after}\r\n\r\n".encode())
        status = await reader.readline()
        if b" 200 " not in status:
            return status.decode()
        while (await reader.readline()).strip():
            pass
        text = b""
        while size := int(await reader.readline(), 16):
            text += await reader.readexactly(size)
            await reader.readexactly(2)
            self.opened.set()
            *frames, text = text.split(b"\n\n")
            self.ids += [int(frame.split(b"\n")[0][4:]) for frame in frames if frame.startswith(b"id: ")]
        writer.close()
        return "cleanly"


async def main(host, port, key):
    followers = [Follower(*wanted) for wanted in json.loads(sys.stdin.readline())]
    ways = [asyncio.ensure_future(each.follow(host, port, key)) for each in followers]
    for each, way in zip(followers, ways, strict=True):
        opened = asyncio.ensure_future(each.opened.wait())
        await asyncio.wait([opened, way], return_when=asyncio.FIRST_COMPLETED)
    sys.stdout.write("open\n")
    sys.stdout.flush()
    ends = await asyncio.gather(*ways, return_exceptions=True)
    json.dump([[each.ids, str(end)] for each, end in zip(followers, ends, strict=True)], sys.stdout)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(*sys.argv[1:]))

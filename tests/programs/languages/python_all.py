import array, asyncio, collections, concurrent.futures, csv, ctypes, datetime, decimal, functools, hashlib, io, itertools
import json, math, os, pathlib, pickle, queue, random, re, select, signal, socket, sqlite3, struct, tempfile, threading
import time, zlib, mmap, contextlib
print(json.dumps({"list": [1, 2.5, None], "text": "ü"}, sort_keys=True))
print(hashlib.sha256(b"abc").hexdigest(), zlib.crc32(b"abc"), math.sqrt(2), decimal.Decimal(1) / 7)
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "file.txt"
    path.write_text("line\n" * 1000)
    print(len(path.read_text()), sorted(os.listdir(folder)), path.stat().st_size)
    with open(path, "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        m[0:4] = b"LINE"
    print(path.read_text()[:9])
    base = sqlite3.connect(os.path.join(folder, "base.db"))
    base.execute("create table t(a integer primary key, b text)")
    base.executemany("insert into t values(?,?)", ((i, "x" * i) for i in range(500)))
    base.commit()
    print(base.execute("select sum(a), sum(length(b)) from t").fetchone())
total, lock = 0, threading.Lock()
def add():
    global total
    for _ in range(2000):
        with lock:
            total += 1
threads = [threading.Thread(target=add) for _ in range(6)]
[t.start() for t in threads], [t.join() for t in threads]
print(total)
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(lambda n: n * n, range(200))))
async def ticker(n):
    await asyncio.sleep(0.01 * n)
    return n
async def main():
    print(await asyncio.gather(*(ticker(n) for n in (3, 1, 2))))
    async def serve(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        answer = await reader.read()
        writer.close()
    print(answer)
    server.close()
    await server.wait_closed()
asyncio.run(main())
signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.02)
time.sleep(0.2)
a, b = socket.socketpair()
a.sendall(b"pair"); print(b.recv(10))
print(re.findall(r"\w+", "some words here"), pickle.loads(pickle.dumps({1: "a"})), os.getcwd() != "")
print(ctypes.CDLL(None).abs(-5), struct.pack("<I", 7), datetime.date(2024, 2, 29).isoformat())
try:
    open("/none/such")
except OSError as e:
    print(e.errno, e.strerror)
print(len(os.urandom(16)), os.cpu_count() > 0)

const fs = require('fs'), http = require('http'), crypto = require('crypto'), os = require('os'), path = require('path');
const { Worker, isMainThread, parentPort } = require('worker_threads');
if (!isMainThread) {
  parentPort.on('message', n => { let s = 0; for (let i = 0; i < n; ++i) s += i; parentPort.postMessage(s); parentPort.close(); });
} else (async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'node-'));
  await fs.promises.writeFile(path.join(folder, 'f'), 'x'.repeat(100000));
  console.log((await fs.promises.readFile(path.join(folder, 'f'))).length, fs.readdirSync(folder));
  const seen = [], watcher = fs.watch(folder);
  const enough = new Promise(good => watcher.on('change', (kind, name) => { if (seen.push(kind + ' ' + name) === 4) good(); }));
  fs.writeFileSync(path.join(folder, 'g'), 'new');
  fs.renameSync(path.join(folder, 'g'), path.join(folder, 'h'));
  await enough;
  watcher.close();
  console.log(seen.slice(0, 4));
  fs.rmSync(folder, { recursive: true });
  console.log(crypto.createHash('sha256').update('abc').digest('hex'));
  let hot = 0; for (let i = 0; i < 3e6; ++i) hot = (hot * 31 + i) | 0; console.log(hot);
  const w = new Worker(__filename); w.postMessage(1000000);
  console.log(await new Promise((good, bad) => { w.on('message', good); w.on('error', bad); }));
  const server = http.createServer((q, a) => a.end('path ' + q.url)).listen(0, '127.0.0.1', async () => {
    let last;
    for (let i = 0; i < 100; ++i) last = await new Promise((good, bad) => http.get({ port: server.address().port, host: '127.0.0.1', path: '/' + i },
      r => { let b = ''; r.on('data', d => b += d); r.on('end', () => good(b)); }).on('error', bad));
    console.log(last);
    server.close();
    setTimeout(() => { console.log('timer'); process.exit(7); }, 20);
  });
})();

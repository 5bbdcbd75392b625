// Children of Node.js: at once, through pipes, by a shell.
const processes = require('child_process');
console.log(processes.execSync('echo at once | cat').toString().trim());
const cat = processes.spawn('cat');
cat.stdout.on('data', text => console.log('cat: ' + text));
cat.on('close', code => processes.exec('echo later; exit 2', (error, out) => console.log(out.trim(), error.code)));
cat.stdin.end('through a pipe');

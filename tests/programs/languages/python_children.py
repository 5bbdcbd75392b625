import subprocess, os
print(subprocess.run(["/usr/bin/cat"], input=b"text through cat", capture_output=True).stdout)
print(subprocess.run(["/usr/bin/sort", "-r"], input="a\nc\nb\n", capture_output=True, text=True).stdout.split())
p = subprocess.Popen(["/usr/bin/sleep", "100"]); p.terminate(); print(p.wait())
a = subprocess.Popen(["/usr/bin/seq", "1000"], stdout=subprocess.PIPE)
b = subprocess.run(["/usr/bin/wc", "-l"], stdin=a.stdout, capture_output=True, text=True)
print(b.stdout.strip(), a.wait(), subprocess.call(["/usr/bin/false"]), os.system("exit 3") >> 8)
try:
    subprocess.run(["/none/such"])
except FileNotFoundError as e:
    print(e)
print(subprocess.check_output("echo $((6*7)); ls -d /usr", shell=True, text=True).split())
pid = os.posix_spawn("/usr/bin/true", ["true"], {}); print(os.waitpid(pid, 0)[1])
print(sum(subprocess.call(["/usr/bin/true"]) for _ in range(30)))
